//! What lists have in common: strict query parameters, and cursors.
//!
//! A parameter that an operation does not know, or that is given twice, is refused rather than ignored: a filter with a
//! spelling mistake would otherwise return everything. A cursor is opaque to clients. It holds the key of the last row
//! seen and a digest of the query that it belongs to, so that it cannot be carried over to another query.

use super::error::ApiError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::Request;
use sha2::{Digest as _, Sha256};
use std::fmt::Display;

/// Rows in a page when the client asks for no number.
pub(super) const fn default_limit() -> u16 {
    50
}

/// A list's query as it was sent.
pub(super) struct ListQuery(Vec<(String, String)>);

/// Parameters that say how much of a list is wanted, not which list.
const PAGING: [&str; 4] = ["cursor", "limit", "page_size", "include_total"];

impl ListQuery {
    /// The query of an operation that takes [`PAGING`] and `filters`.
    ///
    /// # Errors
    /// See [`parameters`].
    pub(super) fn of(request: &Request, filters: &[&str]) -> Result<Self, ApiError> {
        let known: Vec<&str> = filters.iter().chain(&["cursor", "limit", "include_total"]).copied().collect();
        parameters(request, &known).map(Self)
    }

    /// The query of an operation that takes [`PAGING`], `filters`, and `lists`, which may be given more than once.
    ///
    /// # Errors
    /// See [`parameters`].
    pub(super) fn with_lists(request: &Request, filters: &[&str], lists: &[&str]) -> Result<Self, ApiError> {
        let known: Vec<&str> = filters.iter().chain(lists).chain(&["cursor", "page_size"]).copied().collect();
        let pairs = read(request)?;
        all_known(&pairs, &known)?;
        once_each(pairs.iter().filter(|(name, _)| !lists.contains(&name.as_str())))?;
        Ok(Self(pairs))
    }

    /// The key of the last row seen, as it was given to [`ListQuery::cursor_behind`].
    ///
    /// # Errors
    /// The cursor was not made for this query.
    pub(super) fn key_in<K>(
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
        key.map(Some)
            .ok_or_else(|| ApiError::field("cursor", "must be a next_cursor that this same query has returned"))
    }

    /// A cursor behind the row of this key.
    pub(super) fn cursor_behind(&self, key: impl Display) -> String {
        URL_SAFE_NO_PAD.encode(format!("{} {key}", self.digest()))
    }

    /// In short, what the rows and their order depend on.
    fn digest(&self) -> String {
        let mut filters: Vec<_> = self.0.iter().filter(|(name, _)| !PAGING.contains(&name.as_str())).collect();
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

/// Refuses a query on an operation that takes none.
///
/// # Errors
/// Any parameter at all.
pub(super) fn no_parameters(request: &Request) -> Result<(), ApiError> {
    parameters(request, &[]).map(drop)
}

/// The query of an operation that takes these.
///
/// # Errors
/// A parameter that is not in `known`, or that is given twice.
pub(super) fn parameters(request: &Request, known: &[&str]) -> Result<Vec<(String, String)>, ApiError> {
    let pairs = read(request)?;
    all_known(&pairs, known)?;
    once_each(pairs.iter())?;
    Ok(pairs)
}

fn all_known(pairs: &[(String, String)], known: &[&str]) -> Result<(), ApiError> {
    let Some((name, _)) = pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) else { return Ok(()) };
    let there_are = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(ApiError::field(name, format_args!("is not a parameter here; there are {there_are}")))
}

fn read(request: &Request) -> Result<Vec<(String, String)>, ApiError> {
    request.params().map_err(|error| ApiError::field("query", format_args!("cannot be read: {error}")))
}

fn once_each<'a>(pairs: impl Iterator<Item = &'a (String, String)>) -> Result<(), ApiError> {
    let mut seen = Vec::new();
    for (name, _) in pairs {
        if seen.contains(&name) {
            return Err(ApiError::field(name, "must be given at most once"));
        }
        seen.push(name);
    }
    Ok(())
}
