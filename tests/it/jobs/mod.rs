//! Tests of work that runs on a schedule or over many calls, and of `doctor`, which `serve` runs in part each hour.

mod access_log;
mod automatic_backups;
mod backfill;
mod doctor;
mod retention;
