//! Tests of scheduled work: backfill, backups, retention.

mod access_log;
mod automatic_backups;
mod backfill;
mod doctor;
mod retention;
