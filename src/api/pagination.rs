//! Pagination and query parameters of lists.
//!
//! A parameter that is unknown or repeated is an error, because a misspelled filter that is ignored would return
//! everything. A cursor is opaque to clients. It contains the key of the last row returned and a digest of the query,
//! so another query rejects it.

use super::error::ApiError;
use super::error_code::ErrorCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::Request;
use sha2::{Digest as _, Sha256};
use std::fmt::Display;

/// Default number of rows per page.
pub(super) const fn default_limit() -> u16 {
    50
}

/// The query parameters of a list, as they were sent.
pub(super) struct ListQuery(Vec<(String, String)>);

/// Parameters that select a part of a list and do not change its rows or their order.
const PAGING_PARAMETERS: [&str; 4] = ["cursor", "limit", "page_size", "include_total"];

impl ListQuery {
    /// Parses the query of an operation that accepts `filters`, a cursor, a limit and `include_total`. Those in
    /// `repeatable` may be repeated.
    ///
    /// # Errors
    /// See [`parse_query_params`].
    pub(super) fn strict(request: &Request, filters: &[&str], repeatable: &[&str]) -> Result<Self, ApiError> {
        let known: Vec<&str> = filters.iter().chain(&["cursor", "limit", "include_total"]).copied().collect();
        parse_query_params(request, &known, repeatable).map(Self)
    }

    /// Parses the query of an operation that accepts `filters`, a cursor and a limit.
    ///
    /// # Errors
    /// See [`parse_query_params`].
    pub(super) fn without_total(request: &Request, filters: &[&str]) -> Result<Self, ApiError> {
        let known: Vec<&str> = filters.iter().chain(&["cursor", "limit"]).copied().collect();
        parse_query_params(request, &known, &[]).map(Self)
    }

    /// Parses the query of an operation that accepts `filters`, a cursor, a page size, and `lists`, which may be
    /// repeated.
    ///
    /// # Errors
    /// See [`parse_query_params`].
    pub(super) fn with_lists(request: &Request, filters: &[&str], lists: &[&str]) -> Result<Self, ApiError> {
        let known: Vec<&str> = filters.iter().chain(lists).chain(&["cursor", "page_size"]).copied().collect();
        parse_query_params(request, &known, lists).map(Self)
    }

    /// Returns the key in a cursor that [`ListQuery::encode_cursor`] made.
    ///
    /// # Errors
    /// The cursor is invalid or belongs to another query.
    pub(super) fn decode_cursor<K>(
        &self,
        cursor: Option<&str>,
        read_key: impl FnOnce(&str) -> Option<K>,
    ) -> Result<Option<K>, ApiError> {
        let Some(cursor) = cursor else { return Ok(None) };
        let key =
            URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|text| {
                let (digest, key) = text.split_once(' ')?;
                if digest == self.digest() { read_key(key) } else { None }
            });
        key.map(Some).ok_or_else(|| {
            let details = "cursor: must be a next_cursor that the same query returned".to_owned();
            ApiError::BadRequest(ErrorCode::InvalidCursor, details)
        })
    }

    /// Returns the cursor that continues after the row with this key.
    pub(super) fn encode_cursor(&self, key: impl Display) -> String {
        URL_SAFE_NO_PAD.encode(format!("{} {key}", self.digest()))
    }

    /// Returns a digest of the parameters that determine the rows and their order.
    fn digest(&self) -> String {
        let mut filters: Vec<_> =
            self.0.iter().filter(|(name, _)| !PAGING_PARAMETERS.contains(&name.as_str())).collect();
        filters.sort();
        let mut hash = Sha256::new();
        for (name, value) in filters {
            for part in [name, value] {
                hash.update(part);
                hash.update([0]);
            }
        }
        URL_SAFE_NO_PAD.encode(&hash.finalize()[..6])
    }
}

/// Rejects all query parameters, for an operation that has none.
///
/// # Errors
/// The query has a parameter.
pub(super) fn reject_query_params(request: &Request) -> Result<(), ApiError> {
    parse_query_params(request, &[], &[]).map(drop)
}

/// Parses the query of an operation that accepts the parameters in `known`.
///
/// # Errors
/// A parameter is not in `known`, or is repeated and not in `repeatable`.
pub(super) fn parse_query_params(
    request: &Request,
    known: &[&str],
    repeatable: &[&str],
) -> Result<Vec<(String, String)>, ApiError> {
    let pairs = query_pairs(request)?;
    reject_unknown(&pairs, known)?;
    reject_repeated(pairs.iter().filter(|(name, _)| !repeatable.contains(&name.as_str())))?;
    Ok(pairs)
}

fn reject_unknown(pairs: &[(String, String)], known: &[&str]) -> Result<(), ApiError> {
    let Some((name, _)) = pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) else { return Ok(()) };
    let names = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(ApiError::field(name, format_args!("unknown parameter; known parameters: {names}")))
}

fn query_pairs(request: &Request) -> Result<Vec<(String, String)>, ApiError> {
    request.params().map_err(|error| ApiError::field("query", format_args!("cannot be parsed: {error}")))
}

fn reject_repeated<'a>(pairs: impl Iterator<Item = &'a (String, String)>) -> Result<(), ApiError> {
    let mut seen = Vec::new();
    for (name, _) in pairs {
        if seen.contains(&name) {
            return Err(ApiError::field(name, "must be given at most once"));
        }
        seen.push(name);
    }
    Ok(())
}
