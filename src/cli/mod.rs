//! The command line: one module per command, and flags that are also environment variables.
//!
//! Results are printed to standard output, logs and errors to standard error. Exit codes: 0 success, 1 failure, 2 wrong
//! usage or configuration.

mod args;
mod backfill;
mod backup;
mod check;
mod doctor;
mod erase;
mod erase_session;
mod export;
mod former_variables;
mod generate;
mod healthcheck;
mod import;
mod mcp;
mod migrate;
mod output;
mod prune;
mod replay;
mod restore;
mod run;
mod search;
mod serve;
mod service_client;
mod simulate;
mod start_report;
mod token;
mod usage_error;
mod webhook;

pub use run::{configuration_table, run};
