//! The command line: one module per command, and flags that are also environment variables.
//!
//! Results are printed to standard output, logs and errors to standard error. Exit codes: 0 success, 1 failure, 2 wrong
//! usage.

mod access;
mod backfill;
mod backup;
mod check;
mod copies;
mod erase;
mod export;
mod generate;
mod healthcheck;
mod import;
mod import_calls;
mod limits;
mod metrics;
mod migrate;
mod post_call;
mod redact;
mod reference;
mod replay;
mod restore;
mod retention;
mod search;
mod secrets;
mod serve;
mod simulate;
mod streams;
mod tls;
mod token;
mod token_file;

pub use reference::configuration_table;

use crate::telemetry;
use crate::terminal::Visible;
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::filter::{LevelFilter, Targets};

/// Receives dialogue turns of voice-agent phone calls and stores them in one SQLite file.
#[derive(Debug, Parser)]
#[command(name = "transcribe-hook", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    logs: LogArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(Box<serve::ServeArgs>),
    /// Migrate a database to the newest schema without serving it
    Migrate(DatabaseArgs),
    /// Search the transcripts in a database
    ///
    /// Works while the service runs.
    Search(search::SearchArgs),
    /// Back up a database to one consistent file
    ///
    /// Works while the service runs. The backup is checked before it gets its name.
    Backup(backup::BackupArgs),
    /// Replace a database with a backup while no service runs
    Restore(restore::RestoreArgs),
    /// Check a database for damage and missing data
    ///
    /// Works while the service runs.
    Check(check::CheckArgs),
    /// Export calls with their turns, as data or as transcripts
    Export(export::ExportArgs),
    /// Import calls, drivers or dispatches from a file
    Import(import::ImportArgs),
    /// Fetch missing calls from the ElevenLabs API
    Backfill(backfill::BackfillArgs),
    /// Play a sample call against a service and check it
    Simulate(simulate::SimulateArgs),
    /// Reprocess stored ElevenLabs events
    Replay(replay::ReplayArgs),
    /// Permanently erase a call, or everything about a driver
    Erase(erase::EraseArgs),
    /// Erase calls older than a given age
    Prune(retention::PruneArgs),
    /// Check that a service is ready; exit 1 if not
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print the generated API token, or the sign-in URL
    Token(token::TokenArgs),
    /// Print files that are generated from the program itself
    Generate(generate::GenerateArgs),
}

/// The flag that selects the database.
#[derive(Debug, Args)]
struct DatabaseArgs {
    /// Use this SQLite file; it is created if missing
    #[arg(long, env = "TRANSCRIBE_HOOK_DATABASE", value_name = "FILE", default_value = "./transcribe-hook.db")]
    database: PathBuf,
}

/// Flags of logging.
#[derive(Debug, Args)]
struct LogArgs {
    /// Set the format of log lines
    ///
    /// `cloud` is the JSON format of Google Cloud Logging.
    #[arg(long, global = true, env = "TRANSCRIBE_HOOK_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: telemetry::Format,
    /// Set the log level, also by module, as in info,http=warn
    ///
    /// Levels are off, error, warn, info, debug and trace.
    #[arg(
        long,
        global = true,
        env = "TRANSCRIBE_HOOK_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info,poem=warn",
        value_parser = levels
    )]
    log_level: Targets,
}

/// Parses a log level, or levels by module.
///
/// A word that is no level is an error, because it would otherwise be taken as the name of a module.
fn levels(text: &str) -> Result<Targets, String> {
    for part in text.split(',').filter(|part| !part.contains('=')) {
        part.parse::<LevelFilter>()
            .map_err(|_| format!("unknown log level {part:?}; levels are off, error, warn, info, debug, trace"))?;
    }
    text.parse().map_err(|error| format!("{error}"))
}

/// Prints a line to standard output. A closed pipe, as left by `head`, is no error.
fn print_line(line: impl Display) -> anyhow::Result<()> {
    match writeln!(standard_output(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("cannot print"),
    }
}

/// Prints a line to standard error. Failures are ignored, because there is nowhere to report them.
fn eprint_line(line: impl Display) {
    let mut err = io::stderr().lock();
    let _ = if err.is_terminal() { writeln!(Visible::new(err), "{line}") } else { writeln!(err, "{line}") };
}

/// Returns standard output for text that may contain words of callers, sanitized if it is a terminal.
fn standard_output() -> Box<dyn io::Write> {
    let out = io::stdout().lock();
    if out.is_terminal() { Box::new(Visible::new(out)) } else { Box::new(out) }
}

/// Parses the command line and runs the command. The log is flushed before the error of a failed command is printed.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = telemetry::start(cli.logs.log_format, cli.logs.log_level).context("cannot log").and_then(|_flush| {
        match cli.command {
            Command::Serve(args) => serve::run(&args),
            Command::Migrate(args) => migrate::run(&args),
            Command::Search(args) => search::run(&args),
            Command::Backup(args) => backup::run(&args),
            Command::Restore(args) => restore::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Export(args) => export::run(&args),
            Command::Import(args) => import::run(&args),
            Command::Backfill(args) => backfill::run(&args),
            Command::Simulate(args) => simulate::run(&args),
            Command::Replay(args) => replay::run(&args),
            Command::Erase(args) => erase::run(&args),
            Command::Prune(args) => retention::run(&args),
            Command::Healthcheck(args) => healthcheck::run(&args),
            Command::Token(args) => token::run(&args),
            Command::Generate(args) => generate::run(&args),
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint_line(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
