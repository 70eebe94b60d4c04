//! Tests of the commands and their flags.

mod backup;
mod check;
mod configuration;
mod flags;
mod generate;
mod import;
mod import_calls;
mod installation;
mod mcp;
mod package;
mod proxy;
mod simulate;
