//! Conversion of a search expression to FTS5's query language. Every word is quoted, so no word is taken for an
//! operator.

use super::accents;
use crate::domain::SearchExpr;
use rusqlite::Connection;
use std::collections::HashMap;

/// Maximum number of words that a prefix is expanded to. With more words, FTS5 merges the matches of all of them before
/// it returns the first, which takes longer the more turns there are.
const MAX_PREFIX_WORDS: usize = 64;

/// Returns the expression without expanding prefixes.
pub(in crate::store::sqlite) fn render_literal(wanted: &SearchExpr) -> String {
    render(wanted, &PrefixLookup::new())
}

/// Queries for the index.
pub(super) struct FtsQuery {
    /// Query for exactly the matching turns. Prefixes are expanded to words if these are few.
    pub(super) exact: String,
    /// Set if the exact query may take the index long.
    pub(super) broad: Option<BroadMatch>,
}

/// A query for candidates. The index returns them one by one, while it would have to merge all exact matches first.
pub(super) enum BroadMatch {
    /// All turns are candidates.
    All,
    /// Turns that match this query are candidates.
    Of(String),
}

/// The indexed words that begin with a prefix.
enum PrefixTerms {
    Few(Vec<String>),
    Many,
    /// No such words, or the prefix is no word of the index.
    Unknown,
}

type PrefixLookup<'a> = HashMap<&'a str, PrefixTerms>;

impl FtsQuery {
    /// Builds the queries, looking up prefixes in the index if there is one.
    pub(super) fn new(wanted: &SearchExpr, index: Option<&Connection>) -> rusqlite::Result<Self> {
        let mut prefixes = PrefixLookup::new();
        if let Some(connection) = index {
            lookup_prefixes(wanted, connection, &mut prefixes)?;
        }
        let is_wide = prefixes.values().any(|beginnings| matches!(beginnings, PrefixTerms::Many));
        let wide = || without_broad_prefixes(wanted, &prefixes).map_or(BroadMatch::All, BroadMatch::Of);
        Ok(Self { exact: render(wanted, &prefixes), broad: is_wide.then(wide) })
    }
}

fn lookup_prefixes<'a>(
    wanted: &'a SearchExpr,
    connection: &Connection,
    prefixes: &mut PrefixLookup<'a>,
) -> rusqlite::Result<()> {
    match wanted {
        SearchExpr::Words { text, prefix } => {
            if *prefix && !prefixes.contains_key(text.as_str()) {
                prefixes.insert(text, lookup_prefix(text, connection)?);
            }
        }
        SearchExpr::All(parts) | SearchExpr::Any(parts) => {
            for part in parts {
                lookup_prefixes(part, connection, prefixes)?;
            }
        }
        SearchExpr::AndNot(some, others) => {
            lookup_prefixes(some, connection, prefixes)?;
            lookup_prefixes(others, connection, prefixes)?;
        }
    }
    Ok(())
}

/// Returns the expression without prefixes that have too many words, or `None` if nothing is left.
fn without_broad_prefixes(wanted: &SearchExpr, prefixes: &PrefixLookup<'_>) -> Option<String> {
    let parts_of =
        |parts: &[SearchExpr]| parts.iter().map(|part| without_broad_prefixes(part, prefixes)).collect::<Vec<_>>();
    match wanted {
        SearchExpr::Words { .. } => (!is_broad(wanted, prefixes)).then(|| render(wanted, prefixes)),
        SearchExpr::All(parts) => {
            let parts: Vec<_> = parts_of(parts).into_iter().flatten().collect();
            (!parts.is_empty()).then(|| format!("({})", parts.join(" AND ")))
        }
        SearchExpr::Any(parts) => {
            let parts: Option<Vec<_>> = parts_of(parts).into_iter().collect();
            parts.map(|parts| format!("({})", parts.join(" OR ")))
        }
        // An excluded part must be complete, because excluding a wider one would lose matches.
        SearchExpr::AndNot(some, others) => {
            let some = without_broad_prefixes(some, prefixes)?;
            Some(if is_broad(others, prefixes) { some } else { format!("({some} NOT {})", render(others, prefixes)) })
        }
    }
}

fn is_broad(wanted: &SearchExpr, prefixes: &PrefixLookup<'_>) -> bool {
    match wanted {
        SearchExpr::Words { text, prefix } => *prefix && matches!(prefixes.get(text.as_str()), Some(PrefixTerms::Many)),
        SearchExpr::All(parts) | SearchExpr::Any(parts) => parts.iter().any(|part| is_broad(part, prefixes)),
        SearchExpr::AndNot(some, others) => is_broad(some, prefixes) || is_broad(others, prefixes),
    }
}

fn render(wanted: &SearchExpr, prefixes: &PrefixLookup<'_>) -> String {
    render_into(wanted, prefixes, &mut accents::MAX_WORDS.clone())
}

/// Renders the expression and expands up to `words` variants with other accents.
fn render_into(wanted: &SearchExpr, prefixes: &PrefixLookup<'_>, words: &mut usize) -> String {
    let mut joined = |parts: &[SearchExpr], by: &str| {
        let parts: Vec<_> = parts.iter().map(|part| render_into(part, prefixes, words)).collect();
        format!("({})", parts.join(by))
    };
    let one_of = |texts: &[String], end: &str| {
        let texts: Vec<_> = texts.iter().map(|text| format!("{}{end}", quote(text))).collect();
        format!("({})", texts.join(" OR "))
    };
    match wanted {
        SearchExpr::Words { text, prefix: false } => one_of(&accents::variants(text, words), ""),
        SearchExpr::Words { text, prefix: true } => match prefixes.get(text.as_str()) {
            Some(PrefixTerms::Few(words)) => one_of(words, ""),
            _ if text.is_ascii() => one_of(std::slice::from_ref(text), " *"),
            _ => one_of(&accents::variants(text, words), " *"),
        },
        SearchExpr::All(parts) => joined(parts, " AND "),
        SearchExpr::Any(parts) => joined(parts, " OR "),
        SearchExpr::AndNot(some, others) => {
            let some = render_into(some, prefixes, words);
            format!("({some} NOT {})", render_into(others, prefixes, words))
        }
    }
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn lookup_prefix(prefix: &str, connection: &Connection) -> rusqlite::Result<PrefixTerms> {
    if !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(PrefixTerms::Unknown);
    }
    let prefix = prefix.to_ascii_lowercase();
    let past = format!("{prefix}\u{10FFFF}");
    // One seek per word, because the table has a row for each occurrence of a word.
    let mut next =
        connection.prepare_cached("SELECT term FROM turn_search_words WHERE term >= ?1 AND term < ?2 LIMIT 1")?;
    let mut words: Vec<String> = Vec::new();
    let mut from = prefix;
    loop {
        let mut rows = next.query([&from, &past])?;
        let Some(row) = rows.next()? else { break };
        let word: String = row.get(0)?;
        if words.len() == MAX_PREFIX_WORDS {
            return Ok(PrefixTerms::Many);
        }
        from = format!("{word}\u{1}");
        words.push(word);
    }
    Ok(if words.is_empty() { PrefixTerms::Unknown } else { PrefixTerms::Few(words) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_quoted_and_every_operator_is_ours() {
        for (text, query) in [
            ("reefer", r#"("reefer")"#),
            ("NEAR", r#"("NEAR")"#),
            ("a AND b", r#"(("a") AND ("b"))"#),
            ("a OR b NOT c", r#"(("a") OR (("b") NOT ("c")))"#),
            ("temp*", r#"("temp" *)"#),
            ("col:x", r#"("col:x")"#),
            ("\"dock do\"*", r#"("dock do" *)"#),
        ] {
            assert_eq!(render_literal(&SearchExpr::parse(text).unwrap()), query, "{text}");
        }
        // No expression has a quotation mark in its words; one is still no end of them.
        assert_eq!(
            render_literal(&SearchExpr::Words { text: "a\" OR \"b".to_owned(), prefix: false }),
            r#"("a"" OR ""b")"#
        );
    }

    #[test]
    fn a_prefix_of_few_words_is_expanded_and_one_of_many_is_relaxed() {
        let wanted = SearchExpr::parse("alarm re*").unwrap();
        let with = |beginnings| PrefixLookup::from([("re", beginnings)]);
        let few = with(PrefixTerms::Few(vec!["reefer".to_owned(), "rear".to_owned()]));
        assert_eq!(render(&wanted, &few), r#"(("alarm") AND ("reefer" OR "rear"))"#);
        assert_eq!(without_broad_prefixes(&wanted, &with(PrefixTerms::Many)).as_deref(), Some(r#"(("alarm"))"#));
        assert_eq!(without_broad_prefixes(&SearchExpr::parse("re*").unwrap(), &with(PrefixTerms::Many)), None);
    }
}
