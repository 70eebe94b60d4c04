//! A temporary index in memory for a few turns: those that are not indexed yet, those of a page that are ranked and get
//! snippets, and those that are compared with alerts.

use super::super::error::Context as _;
use super::reach::CONTEXT;
use crate::domain::{Snippet, SnippetPart};
use crate::store::Result;
use rusqlite::{Connection, OpenFlags, params};
use std::collections::HashMap;

/// Marks around a match in FTS5's snippet. Texts never contain them, because they are removed before indexing.
const MATCH_START: char = '\u{1}';
const MATCH_END: char = '\u{2}';

pub(in crate::store::sqlite) struct MemoryIndex(Connection);

impl MemoryIndex {
    /// Builds an index of turns from their row id, final text and live text.
    pub(in crate::store::sqlite) fn new<'a>(
        turns: impl IntoIterator<Item = (i64, Option<&'a str>, &'a str)>,
    ) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_MEMORY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(":memory:", flags).context(CONTEXT)?;
        // The tokenizer must be that of the index.
        connection
            .execute_batch(
                "PRAGMA journal_mode = OFF; BEGIN; CREATE VIRTUAL TABLE turns USING fts5 (final_text, message_text, \
                 tokenize = \"unicode61 remove_diacritics 2 categories 'L* N* Co M*'\")",
            )
            .context(CONTEXT)?;
        let mut insert = connection
            .prepare("INSERT INTO turns (rowid, final_text, message_text) VALUES (?1, ?2, ?3)")
            .context(CONTEXT)?;
        for (id, final_text, message_text) in turns {
            insert.execute(params![id, final_text.map(strip_marks), strip_marks(message_text)]).context(CONTEXT)?;
        }
        drop(insert);
        connection.execute_batch("COMMIT").context(CONTEXT)?;
        Ok(Self(connection))
    }

    /// Returns the row ids of matching turns in descending order.
    pub(in crate::store::sqlite) fn matching(&self, expression: &str) -> Result<Vec<i64>> {
        self.0
            .prepare("SELECT rowid FROM turns WHERE turns MATCH ?1 ORDER BY rowid DESC")
            .and_then(|mut select| select.query_map([expression], |row| row.get(0))?.collect())
            .context(CONTEXT)
    }

    /// Returns the rank of each matching turn. Lower ranks are better.
    pub(super) fn ranks(&self, expression: &str) -> Result<HashMap<i64, f64>> {
        self.0
            .prepare("SELECT rowid, bm25(turns) FROM turns WHERE turns MATCH ?1")
            .and_then(|mut select| select.query_map([expression], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
            .context(CONTEXT)
    }

    /// Returns the snippet of each matching turn.
    pub(super) fn snippets(&self, expression: &str) -> Result<HashMap<i64, Snippet>> {
        self.0
            .prepare("SELECT rowid, snippet(turns, -1, char(1), char(2), '…', 32) FROM turns WHERE turns MATCH ?1")
            .and_then(|mut select| {
                let snippet = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, split_snippet(row.get_ref(1)?.as_str()?)));
                select.query_map([expression], snippet)?.collect()
            })
            .context(CONTEXT)
    }
}

fn strip_marks(text: &str) -> String {
    text.replace([MATCH_START, MATCH_END], "\u{FFFD}")
}

fn split_snippet(marked: &str) -> Snippet {
    let mut pieces = Vec::new();
    for (n, part) in marked.split(MATCH_START).enumerate() {
        let (matched, rest) = if n == 0 { ("", part) } else { part.split_once(MATCH_END).unwrap_or((part, "")) };
        for (text, matched) in [(matched, true), (rest, false)] {
            if !text.is_empty() {
                pieces.push(SnippetPart { text: text.to_owned(), matched });
            }
        }
    }
    Snippet(pieces)
}
