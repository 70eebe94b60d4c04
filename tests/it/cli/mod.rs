//! Tests of the commands and their flags.

mod backup;
mod check;
mod flags;
mod generate;
mod import;
mod import_calls;
mod simulate;
