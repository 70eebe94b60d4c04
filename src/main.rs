//! The command: reads its line, does what it says, and tells in one line why it could not.

use std::process::ExitCode;

fn main() -> ExitCode {
    transcribe_hook::cli::run()
}
