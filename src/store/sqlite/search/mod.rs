//! Search in the words of turns: the index, turns that are not in it yet, and the pages made from both.
//!
//! # Index
//!
//! The index is SQLite's FTS5 over both texts of a turn, keyed by row id, in a separate file beside the database
//! ([`mod@file`]). Erased words leave it by a rewrite of its segments ([`purge`]), because FTS5 can purge them at once
//! only in a format that SQLite before 3.42 cannot open.
//!
//! Indexing within the transaction that stores a turn would cost a third to a half of the throughput. The writer
//! therefore indexes turns afterwards, in slices with a bounded size and share of its time ([`indexer`],
//! [`crate::ingest::index_schedule`]). [`state::IndexState`] says how far the index is. Turns that were stored since
//! (the tail) and turns that changed are searched in an index in memory ([`fresh`]), so no stored turn is missed.
//!
//! # Queries
//!
//! The index only says which turns match, newest first. Filters, ranks and snippets are computed for as many turns as a
//! page needs ([`mod@page`]), so the cost of a page does not depend on the number of matches. FTS5's own ranking would
//! have to read every turn that matches a common word.
//!
//! A prefix is expanded to the words that begin with it, for the same reason. If there are too many words, the newest
//! turns themselves are read first ([`scan`]). FTS5's prefix indexes would make the index up to three times as large.
//! Accents that FTS5 does not fold are expanded in the query ([`accents`]).
//!
//! A prefix is broad if more than 64 indexed words begin with it. What is read depends on the turns and the query:
//!
//! | turns | query | strategy | bound |
//! | --- | --- | --- | --- |
//! | newer than the index | any | index in memory ([`fresh`]) | newest 512 turns, 1 MiB of text |
//! | changed since indexed | any | index in memory ([`fresh`]) | newest 512 turns, 1 MiB of text |
//! | indexed | no broad prefix | FTS5, newest first ([`mod@page`]) | 32 ranges of blocks |
//! | indexed | broad prefix that other words must accompany | FTS5 for the other words, [`scan`] | 128 + 384 turns |
//! | indexed | broad prefix otherwise | [`scan`] of all turns | 128 + 384 turns |
//! | not indexed, for the command line | any | [`scan`] of all turns | 4096 turns per step |
//!
//! If the two steps of a scan leave the page unfilled, FTS5 merges the matches of the exact query. With times, only
//! blocks that may contain them are read ([`time_blocks`]). A page looks up at most 10,000 turns and holds at most
//! 1 MiB of text; then it ends early, and the next page continues. The order by rank ranks 300 turns at a time.
//!
//! Without an index that belongs to the database, the service searches the newest turns and returns how many it did not
//! search. The command line then reads all turns.

mod accents;
mod attach;
mod check;
mod collector;
mod file;
mod filter;
mod find;
mod fresh;
pub(super) mod fts_query;
mod indexer;
mod memory_index;
mod page;
mod page_search;
mod purge;
mod reach;
mod scan;
mod segments;
mod state;
mod text_calls;
mod time_blocks;

pub(super) use check::check;
pub(super) use file::SearchIndex;
pub(super) use find::find;
pub use find::search_file;
pub(super) use memory_index::MemoryIndex;
pub(super) use reach::Reach;
pub(super) use text_calls::{attach_index, calls_with_words};
