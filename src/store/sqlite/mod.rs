//! The SQLite store: one database file, one writing connection, and a pool of reading connections.
//!
//! - **Durability.** The writing connection uses WAL mode with `synchronous=FULL`, so a commit that returned is on
//!   disk. Only this connection runs checkpoints ([`connection::checkpoint`]). `cp` of a database in use is no valid
//!   copy; `backup` makes one.
//! - **Reads.** Readers open the file read-only. Each read is one short snapshot with a time limit, because an open
//!   snapshot prevents a checkpoint from finishing.
//! - **Ownership.** A lock file beside the database and a lock on the database itself keep a second service away
//!   ([`connection::lock`]). A commit is acknowledged only if the files are still at their path
//!   ([`connection::place`]).
//! - **Search.** The search index is a separate file beside the database ([`search`]).

mod access_log;
mod alerts;
mod archive;
mod batch;
mod call_filter;
mod call_list;
mod call_results;
mod call_stats;
mod call_text;
mod calls;
mod change_feed;
mod commands;
mod connection;
mod database;
mod drivers;
mod due;
mod erase;
mod error;
mod events;
mod expired;
mod feed;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod held;
mod initiations;
mod json_column;
mod maintenance;
mod material;
mod new_initiations;
mod outgoing;
mod quarantine;
mod ranked_calls;
mod read_source;
mod reads;
mod recordings;
mod records;
mod reread_list;
mod rereads;
mod row;
mod search;
mod statement;
mod tool_calls;

pub use archive::read::ReadOnly;
pub use connection::open_error::OpenError;
pub use connection::options::Options;
pub use database::SqliteStore;
pub use maintenance::backup::{backup, expect_no_wal};
pub use maintenance::check::{check, for_each_call};
pub use maintenance::replace::{Replacement, ReplacementReport};
pub use read_source::ReadOnlyFile;
pub use search::search_file;
