//! Connections: opening, locks, the schema, the WAL.

pub(super) mod checkpoint;
pub(super) mod functions;
pub(super) mod header;
pub(super) mod lock;
pub(super) mod migrations;
pub(super) mod open;
pub(super) mod open_error;
pub(super) mod options;
pub(super) mod page_scrub;
pub(super) mod place;
pub(super) mod pool;
pub(super) mod probe;
pub(super) mod read_only;
pub(super) mod schema;
pub(super) mod vfs;
