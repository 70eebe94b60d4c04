//! Black-box tests: the real binary, real HTTP over a socket, a real SQLite file.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "what a test prints is shown when it fails")]
#![allow(unreachable_pub, reason = "nothing can be reached from outside a test crate")]

mod access;
mod analysis;
mod any_order;
mod backfill;
mod backup;
mod calls;
mod check;
mod cli;
mod clock_and_readers;
mod concurrency;
mod convai;
mod copies;
mod corpus;
mod crash;
mod download;
mod drivers;
mod erasure;
mod errors;
mod event_crash;
mod event_flood;
mod faults;
mod fuzz;
mod generate;
mod guide;
mod harness;
mod import;
mod ingest;
mod kept_events;
mod limits;
mod live;
mod live_cuts;
mod logs;
mod metrics;
mod migration_crash;
mod openapi;
mod platform;
mod platform_api;
mod platform_tool;
mod post_call_audio;
mod post_call_signed;
mod powercut;
mod readme;
mod reconcile;
mod recording;
mod redaction;
mod retention;
mod samples;
mod schema;
mod search;
mod search_index;
mod session;
mod shutdown;
mod signature;
mod simulate;
mod soak;
mod sse;
mod stand_in;
mod store;
mod supervised;
mod tidy;
mod whole_call;
