//! The command line: one file a command, flags that also are environment variables, and exit codes: 0 done, 1 failed,
//! 2 wrong usage.
//!
//! What a command found goes to standard output, logs and errors to standard error.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "commands talk to the terminal")]

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
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use tracing_subscriber::filter::{LevelFilter, Targets};

/// Receives the dialogue turns of voice-agent phone calls and keeps them in one SQLite file.
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
    /// Bring a database up to date without serving it
    Migrate(DatabaseArgs),
    /// Search the words of all turns in a database, be it in use or not
    Search(search::SearchArgs),
    /// Copy a database, be it in use or not, into one consistent file
    Backup(backup::BackupArgs),
    /// Look for what is broken or missing in a database, be it in use or not
    Check(check::CheckArgs),
    /// Write calls with their turns to a file, as data or as transcripts
    Export(export::ExportArgs),
    /// Read calls, drivers or dispatches from a file
    Import(import::ImportArgs),
    /// Fetch calls that did not come from the platform's API
    Backfill(backfill::BackfillArgs),
    /// Play a call against a running service and show what it made of it
    Simulate(simulate::SimulateArgs),
    /// Read kept events of the platform again, all of them or some
    Replay(replay::ReplayArgs),
    /// Take a call, or all of a driver, out of the file for good
    Erase(erase::EraseArgs),
    /// Erase what is older than this
    Prune(retention::PruneArgs),
    /// Ask a running service whether it can do its work; exits 1 if it cannot
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print the token that `serve` made, or the address that signs a browser in
    Token(token::TokenArgs),
    /// Print something made from the program itself
    Generate(generate::GenerateArgs),
}

/// Which database.
#[derive(Debug, Args)]
struct DatabaseArgs {
    /// The SQLite file; made when there is none
    #[arg(long, env = "TRANSCRIBE_HOOK_DATABASE", value_name = "FILE", default_value = "./transcribe-hook.db")]
    database: PathBuf,
}

/// How to log.
#[derive(Debug, Args)]
struct LogArgs {
    /// How log lines look; cloud is Google Cloud Logging's form of JSON
    #[arg(long, global = true, env = "TRANSCRIBE_HOOK_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: telemetry::Format,
    /// What is logged: off, error, warn, info, debug or trace, also by part, as in info,http=warn
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

/// A level, or levels by part. A word that is no level would otherwise stand for a part of that name.
fn levels(text: &str) -> Result<Targets, String> {
    for part in text.split(',').filter(|part| !part.contains('=')) {
        part.parse::<LevelFilter>().map_err(|_| format!("{part:?} is no level"))?;
    }
    text.parse().map_err(|error| format!("{error}"))
}

/// Prints a line. That whoever reads it has seen enough, such as `head`, is no failure.
fn print_line(line: impl Display) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("cannot print"),
    }
}

/// Reads the command line and does what it says. The log is written to its end before the reason of a failure is told.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = telemetry::start(cli.logs.log_format, cli.logs.log_level).context("cannot log").and_then(|_flush| {
        match cli.command {
            Command::Serve(args) => serve::run(&args),
            Command::Migrate(args) => migrate::run(&args),
            Command::Search(args) => search::run(&args),
            Command::Backup(args) => backup::run(&args),
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
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
