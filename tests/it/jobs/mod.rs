//! Tests of scheduled work: backfill, backups, retention.

mod automatic_backups;
mod backfill;
mod retention;
