//! Conversion of a search expression to FTS5's query language. Every word is quoted, so no word is taken for an
//! operator.

use super::accents;
use crate::domain::Wanted;
use rusqlite::Connection;
use std::collections::HashMap;

/// Maximum number of words that a prefix is expanded to. With more words, FTS5 merges the matches of all of them before
/// it returns the first, which takes longer the more turns there are.
const MAX_PREFIX_WORDS: usize = 64;

/// Returns the expression without expanding prefixes.
pub(in crate::store::sqlite) fn plain(wanted: &Wanted) -> String {
    written(wanted, &Prefixes::new())
}

/// Queries for the index.
pub(super) struct ForIndex {
    /// Query for exactly the matching turns. Prefixes are expanded to words if these are few.
    pub(super) exact: String,
    /// Set if the exact query may take the index long.
    pub(super) wide: Option<Wide>,
}

/// A query for candidates. The index returns them one by one, while it would have to merge all exact matches first.
pub(super) enum Wide {
    /// All turns are candidates.
    All,
    /// Turns that match this query are candidates.
    Of(String),
}

/// The indexed words that begin with a prefix.
enum Beginnings {
    Few(Vec<String>),
    Many,
    /// No such words, or the prefix is no word of the index.
    Unknown,
}

type Prefixes<'a> = HashMap<&'a str, Beginnings>;

impl ForIndex {
    /// Builds the queries, looking up prefixes in the index if there is one.
    pub(super) fn of(wanted: &Wanted, index: Option<&Connection>) -> rusqlite::Result<Self> {
        let mut prefixes = Prefixes::new();
        if let Some(connection) = index {
            look_up(wanted, connection, &mut prefixes)?;
        }
        let is_wide = prefixes.values().any(|beginnings| matches!(beginnings, Beginnings::Many));
        let wide = || relaxed(wanted, &prefixes).map_or(Wide::All, Wide::Of);
        Ok(Self { exact: written(wanted, &prefixes), wide: is_wide.then(wide) })
    }
}

fn look_up<'a>(wanted: &'a Wanted, connection: &Connection, prefixes: &mut Prefixes<'a>) -> rusqlite::Result<()> {
    match wanted {
        Wanted::Words { text, prefix } => {
            if *prefix && !prefixes.contains_key(text.as_str()) {
                prefixes.insert(text, beginning_with(text, connection)?);
            }
        }
        Wanted::All(parts) | Wanted::Any(parts) => {
            for part in parts {
                look_up(part, connection, prefixes)?;
            }
        }
        Wanted::But(some, others) => {
            look_up(some, connection, prefixes)?;
            look_up(others, connection, prefixes)?;
        }
    }
    Ok(())
}

/// Returns the expression without prefixes that have too many words, or `None` if nothing is left.
fn relaxed(wanted: &Wanted, prefixes: &Prefixes<'_>) -> Option<String> {
    let parts_of = |parts: &[Wanted]| parts.iter().map(|part| relaxed(part, prefixes)).collect::<Vec<_>>();
    match wanted {
        Wanted::Words { .. } => (!is_wide(wanted, prefixes)).then(|| written(wanted, prefixes)),
        Wanted::All(parts) => {
            let parts: Vec<_> = parts_of(parts).into_iter().flatten().collect();
            (!parts.is_empty()).then(|| format!("({})", parts.join(" AND ")))
        }
        Wanted::Any(parts) => {
            let parts: Option<Vec<_>> = parts_of(parts).into_iter().collect();
            parts.map(|parts| format!("({})", parts.join(" OR ")))
        }
        // An excluded part must be complete, because excluding a wider one would lose matches.
        Wanted::But(some, others) => {
            let some = relaxed(some, prefixes)?;
            Some(if is_wide(others, prefixes) { some } else { format!("({some} NOT {})", written(others, prefixes)) })
        }
    }
}

fn is_wide(wanted: &Wanted, prefixes: &Prefixes<'_>) -> bool {
    match wanted {
        Wanted::Words { text, prefix } => *prefix && matches!(prefixes.get(text.as_str()), Some(Beginnings::Many)),
        Wanted::All(parts) | Wanted::Any(parts) => parts.iter().any(|part| is_wide(part, prefixes)),
        Wanted::But(some, others) => is_wide(some, prefixes) || is_wide(others, prefixes),
    }
}

fn written(wanted: &Wanted, prefixes: &Prefixes<'_>) -> String {
    writing(wanted, prefixes, &mut accents::MAX_WORDS.clone())
}

/// Renders the expression and expands up to `words` variants with other accents.
fn writing(wanted: &Wanted, prefixes: &Prefixes<'_>, words: &mut usize) -> String {
    let mut joined = |parts: &[Wanted], by: &str| {
        let parts: Vec<_> = parts.iter().map(|part| writing(part, prefixes, words)).collect();
        format!("({})", parts.join(by))
    };
    let one_of = |texts: &[String], end: &str| {
        let texts: Vec<_> = texts.iter().map(|text| format!("{}{end}", quoted(text))).collect();
        format!("({})", texts.join(" OR "))
    };
    match wanted {
        Wanted::Words { text, prefix: false } => one_of(&accents::of(text, words), ""),
        Wanted::Words { text, prefix: true } => match prefixes.get(text.as_str()) {
            Some(Beginnings::Few(words)) => one_of(words, ""),
            _ if text.is_ascii() => one_of(std::slice::from_ref(text), " *"),
            _ => one_of(&accents::of(text, words), " *"),
        },
        Wanted::All(parts) => joined(parts, " AND "),
        Wanted::Any(parts) => joined(parts, " OR "),
        Wanted::But(some, others) => {
            let some = writing(some, prefixes, words);
            format!("({some} NOT {})", writing(others, prefixes, words))
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn beginning_with(prefix: &str, connection: &Connection) -> rusqlite::Result<Beginnings> {
    if !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(Beginnings::Unknown);
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
            return Ok(Beginnings::Many);
        }
        from = format!("{word}\u{1}");
        words.push(word);
    }
    Ok(if words.is_empty() { Beginnings::Unknown } else { Beginnings::Few(words) })
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
            assert_eq!(plain(&Wanted::parse(text).unwrap()), query, "{text}");
        }
        // No expression has a quotation mark in its words; one is still no end of them.
        assert_eq!(plain(&Wanted::Words { text: "a\" OR \"b".to_owned(), prefix: false }), r#"("a"" OR ""b")"#);
    }

    #[test]
    fn a_prefix_of_few_words_is_expanded_and_one_of_many_is_relaxed() {
        let wanted = Wanted::parse("alarm re*").unwrap();
        let with = |beginnings| Prefixes::from([("re", beginnings)]);
        let few = with(Beginnings::Few(vec!["reefer".to_owned(), "rear".to_owned()]));
        assert_eq!(written(&wanted, &few), r#"(("alarm") AND ("reefer" OR "rear"))"#);
        assert_eq!(relaxed(&wanted, &with(Beginnings::Many)).as_deref(), Some(r#"(("alarm"))"#));
        assert_eq!(relaxed(&Wanted::parse("re*").unwrap(), &with(Beginnings::Many)), None);
    }
}
