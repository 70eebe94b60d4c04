//! Black-box tests: the real binary, real HTTP over a socket, a real SQLite file.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod harness;
mod ingest;
mod migration_crash;
mod powercut;
