//! The storage interface, independent of any particular database.
//!
//! [`Store`] is synchronous and object-safe. Its unit of work is a batch: [`Commands::apply`] executes a slice of
//! [`Write`]s as one transaction and returns after the commit is on disk. All data of a conversation is keyed by its
//! `conversation_id`, because a store may be spread over several machines. Only the modules below this one contain SQL.
//!
//! A store promises order and exactness, not fairness or speed. [`crate::ingest`] does the queueing, batching and
//! retries.

mod access_log;
mod alert_set;
mod alerts;
mod archive;
mod change_feed;
pub mod command;
mod contract;
mod deadline;
mod error;
mod maintenance;
mod null;
mod other_writers;
mod outcome;
mod outgoing;
mod query;
mod ranked;
mod search;
pub mod sqlite;
mod write;

pub use access_log::{AccessLogRequest, LoggedAccess};
pub use alert_set::{AlertSet, Candidates};
pub use alerts::{Alert, AlertMatch, AlertScan};
pub use archive::{Archive, ArchivePart, ArchiveRecord, ArchivedCall, OrphanRows, Row, TranscriptItem};
pub use change_feed::{Change, ChangeBatch, ChangedCalls, FeedPosition, Scope};
pub use contract::{Commands, Feed, Maintenance, Reads, Store};
pub use deadline::reading_until;
pub use error::{Error, ErrorKind, Result};
pub use maintenance::{
    BackupReport, BackupSource, BackupStep, CheckReport, CopyCheck, DatabaseSizes, IntegrityIssue, ProgressFn,
    UnreadEvents,
};
pub use null::NullStore;
pub use other_writers::OtherWriters;
pub use outcome::{BadElement, BadLink, Counts, NewCall, Receipt, Rejection, StoredTurn};
pub use outgoing::{
    DeliveryOutcome, EndpointId, EndpointState, FailedDelivery, Notice, OutgoingBatch, PendingNotice, PlannedNotice,
    Settlement, TryKey,
};
pub use query::{
    Backlog, CallFilter, CallKey, CallPage, CallPageRequest, DispatchPageRequest, DriverPageRequest, Due, ErasedSlice,
    EventSelection, ExpiredCall, ExpiredCallQuery, ExpiredEvent, Forgotten, MAX_PAGE_TEXT_BYTES, NamingEvent, Page,
    ScanPage, SortOrder, TurnKey, TurnOrder, TurnQuery, Unfinished, max_json_length,
};
pub use ranked::{CallRank, RankKey, RankedCall, RankedCallRequest};
pub use search::{Hit, HitPage, RankPosition, SearchKey, SearchOrder, SearchQuery};
pub use write::{Outcome, Write, Written};
