//! A few turns in an index of their own, in memory: those that are not in the file's index yet, and those of a page,
//! to be ranked and shown.

use super::super::error::Context as _;
use super::reach::DOING;
use crate::domain::{Piece, Snippet};
use crate::store::Result;
use rusqlite::{Connection, OpenFlags, params};
use std::collections::HashMap;

/// What stands around a match until it is taken apart; neither is left in a text.
const BEGINS: char = '\u{1}';
const ENDS: char = '\u{2}';

pub(super) struct Scratch(Connection);

impl Scratch {
    /// Of turns by their row number, with what the platform's record says and what was heard.
    pub(super) fn of<'a>(turns: impl IntoIterator<Item = (i64, Option<&'a str>, &'a str)>) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_MEMORY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(":memory:", flags).doing(DOING)?;
        // The tokenizer as of the index.
        connection
            .execute_batch(
                "PRAGMA journal_mode = OFF; BEGIN; CREATE VIRTUAL TABLE turns USING fts5 (final_text, message_text, \
                 tokenize = \"unicode61 remove_diacritics 2 categories 'L* N* Co M*'\")",
            )
            .doing(DOING)?;
        let mut insert = connection
            .prepare("INSERT INTO turns (rowid, final_text, message_text) VALUES (?1, ?2, ?3)")
            .doing(DOING)?;
        for (id, final_text, message_text) in turns {
            insert.execute(params![id, final_text.map(unmarked), unmarked(message_text)]).doing(DOING)?;
        }
        drop(insert);
        connection.execute_batch("COMMIT").doing(DOING)?;
        Ok(Self(connection))
    }

    /// The row numbers of those that match, the greatest first.
    pub(super) fn matching(&self, expression: &str) -> Result<Vec<i64>> {
        self.0
            .prepare("SELECT rowid FROM turns WHERE turns MATCH ?1 ORDER BY rowid DESC")
            .and_then(|mut select| select.query_map([expression], |row| row.get(0))?.collect())
            .doing(DOING)
    }

    /// How well each matches; lesser ranks are better.
    pub(super) fn ranks(&self, expression: &str) -> Result<HashMap<i64, f64>> {
        self.0
            .prepare("SELECT rowid, bm25(turns) FROM turns WHERE turns MATCH ?1")
            .and_then(|mut select| select.query_map([expression], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
            .doing(DOING)
    }

    /// Where each matches.
    pub(super) fn snippets(&self, expression: &str) -> Result<HashMap<i64, Snippet>> {
        self.0
            .prepare("SELECT rowid, snippet(turns, -1, char(1), char(2), '…', 32) FROM turns WHERE turns MATCH ?1")
            .and_then(|mut select| {
                let snippet = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, apart(row.get_ref(1)?.as_str()?)));
                select.query_map([expression], snippet)?.collect()
            })
            .doing(DOING)
    }
}

fn unmarked(text: &str) -> String {
    text.replace([BEGINS, ENDS], "\u{FFFD}")
}

fn apart(marked: &str) -> Snippet {
    let mut pieces = Vec::new();
    for (n, part) in marked.split(BEGINS).enumerate() {
        let (matched, rest) = if n == 0 { ("", part) } else { part.split_once(ENDS).unwrap_or((part, "")) };
        for (text, matched) in [(matched, true), (rest, false)] {
            if !text.is_empty() {
                pieces.push(Piece { text: text.to_owned(), matched });
            }
        }
    }
    Snippet(pieces)
}
