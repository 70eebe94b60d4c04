//! What is wanted in FTS5's language. Every word is quoted, so that nothing of it is taken for an operator.

use crate::model::Wanted;
use rusqlite::Connection;

/// Up to how many words a prefix is written out. Beyond that FTS5 brings all their turns together before it gives the
/// first one, which takes the longer the more turns there are.
const MAX_WORDS: usize = 64;

/// The expression as it stands.
pub(super) fn plain(wanted: &Wanted) -> String {
    written(wanted, &mut |_| None)
}

/// The expression for the index: prefixes are written out as the words that begin so, as long as they are few.
pub(super) fn for_index(wanted: &Wanted, connection: &Connection) -> rusqlite::Result<String> {
    let mut failed = None;
    let expression = written(wanted, &mut |prefix| match beginning_with(prefix, connection) {
        Ok(words) => words,
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    failed.map_or(Ok(expression), Err)
}

fn written(wanted: &Wanted, words_of: &mut dyn FnMut(&str) -> Option<Vec<String>>) -> String {
    let mut joined = |parts: &[Wanted], by: &str| {
        let parts: Vec<_> = parts.iter().map(|part| written(part, words_of)).collect();
        format!("({})", parts.join(by))
    };
    match wanted {
        Wanted::Words { text, prefix } => {
            if *prefix {
                if let Some(words) = words_of(text) {
                    let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
                    return format!("({})", words.join(" OR "));
                }
            }
            format!("{}{}", quoted(text), if *prefix { " *" } else { "" })
        }
        Wanted::All(parts) => joined(parts, " AND "),
        Wanted::Any(parts) => joined(parts, " OR "),
        Wanted::But(some, others) => format!("({} NOT {})", written(some, words_of), written(others, words_of)),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// The words in the index that begin with this one, if it is one that is in the index as it is written here, and if
/// there are some but not too many.
fn beginning_with(prefix: &str, connection: &Connection) -> rusqlite::Result<Option<Vec<String>>> {
    if !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(None);
    }
    let prefix = prefix.to_ascii_lowercase();
    let past = format!("{prefix}\u{10FFFF}");
    // One seek for each: the table has a row for each place of a word.
    let mut next =
        connection.prepare_cached("SELECT term FROM turn_search_words WHERE term >= ?1 AND term < ?2 LIMIT 1")?;
    let mut words: Vec<String> = Vec::new();
    let mut from = prefix;
    loop {
        let mut rows = next.query([&from, &past])?;
        let Some(row) = rows.next()? else { break };
        let word: String = row.get(0)?;
        if words.len() == MAX_WORDS {
            return Ok(None);
        }
        from = format!("{word}\u{1}");
        words.push(word);
    }
    Ok(Some(words).filter(|words| !words.is_empty()))
}
