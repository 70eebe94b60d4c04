//! Black-box tests: the real binary, real HTTP over a socket, a real SQLite file.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "what a test prints is shown when it fails")]
#![allow(unreachable_pub, reason = "nothing can be reached from outside a test crate")]

mod api;
mod attacks;
mod cli;
mod docs;
mod domain;
mod elevenlabs;
mod export;
mod ingest;
mod jobs;
mod live;
mod outgoing;
mod recordings;
mod redaction;
mod server;
mod soak;
mod source;
mod store;
mod support;
mod telemetry;
mod tools;
mod viewer;
