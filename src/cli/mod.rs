//! The command line: one file a command, flags that also are environment variables, and exit codes: 0 done, 1 failed,
//! 2 wrong usage.
//!
//! What a command found goes to standard output, logs and errors to standard error.

mod args;
mod backfill;
mod backup;
mod check;
mod erase;
mod erase_session;
mod export;
mod generate;
mod healthcheck;
mod import;
mod migrate;
mod output;
mod prune;
mod replay;
mod restore;
mod search;
mod serve;
mod simulate;
mod token;

use crate::telemetry;
use anyhow::Context as _;
use args::database::DatabaseArgs;
use args::logging::LogArgs;
use clap::{CommandFactory as _, Parser, Subcommand};
use output::eprint_line;
use std::process::ExitCode;

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
    /// Put a copy in the place of a database that no service uses
    Restore(restore::RestoreArgs),
    /// Look for what is broken or missing in a database, be it in use or not
    Check(check::CheckArgs),
    /// Write calls with their turns to a file, as data or as transcripts
    Export(export::ExportArgs),
    /// Read calls, drivers or dispatches from a file
    Import(import::command::ImportArgs),
    /// Fetch calls that did not come from the platform's API
    Backfill(backfill::BackfillArgs),
    /// Play a call against a running service and show what it made of it
    Simulate(simulate::SimulateArgs),
    /// Read kept events of the platform again, all of them or some
    Replay(replay::ReplayArgs),
    /// Take a call, or all of a driver, out of the file for good
    Erase(erase::EraseArgs),
    /// Erase what is older than this
    Prune(prune::PruneArgs),
    /// Ask a running service whether it can do its work; exits 1 if it cannot
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print the token that `serve` made, or the address that signs a browser in
    Token(token::TokenArgs),
    /// Print something made from the program itself
    Generate(generate::GenerateArgs),
}

/// The flags of `serve`, with their variables, defaults and meanings, as a Markdown table.
pub fn configuration_table() -> String {
    generate::configuration_table(Cli::command())
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
            Command::Restore(args) => restore::run(&args),
            Command::Check(args) => check::run(&args),
            Command::Export(args) => export::run(&args),
            Command::Import(args) => import::command::run(&args),
            Command::Backfill(args) => backfill::run(&args),
            Command::Simulate(args) => simulate::run(&args),
            Command::Replay(args) => replay::run(&args),
            Command::Erase(args) => erase::run(&args),
            Command::Prune(args) => prune::run(&args),
            Command::Healthcheck(args) => healthcheck::run(&args),
            Command::Token(args) => token::run(&args),
            Command::Generate(args) => generate::run(&args, Cli::command()),
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
