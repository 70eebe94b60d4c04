//! The commands together: parses the command line, and runs its command.

use super::args::environment::{UnknownVariable, unknown_variables, with_lenient_variables};
use super::args::logging::LogArgs;
use super::args::url_values::{shorten_url, with_hidden_urls};
use super::output::eprint_line;
use super::usage_error::{error_line, is_usage};
use super::{
    backfill, backup, check, doctor, erase, export, former_variables, generate, healthcheck, import, mcp, migrate,
    prune, replay, restore, search, serve, simulate, token, webhook,
};
use crate::telemetry;
use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use std::process::ExitCode;

/// Receives dialogue turns of voice-agent phone calls and stores them in one SQLite file.
#[derive(Debug, Parser)]
#[command(name = "transcribe-hook", version, arg_required_else_help = true)]
pub(in crate::cli) struct Cli {
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
    Migrate(migrate::MigrateArgs),
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
    /// Serve a database to AI assistants over standard input (MCP)
    ///
    /// Works while the service runs. A client of the Model Context Protocol starts this command; the calls can only be
    /// read.
    Mcp(mcp::McpArgs),
    /// Export calls with their turns, as data or as transcripts
    Export(export::ExportArgs),
    /// Import calls, drivers or dispatches from a file
    Import(import::command::ImportArgs),
    /// Fetch missing calls from the ElevenLabs API
    Backfill(backfill::BackfillArgs),
    /// Play a sample call against a service and check it
    Simulate(simulate::SimulateArgs),
    /// Check whether what ElevenLabs sends arrives; exit 1 if not
    ///
    /// Reads the webhook settings of the workspace and its agents by the API. Without an API key, only what needs none
    /// is checked: the signing secret, file modes, the disk, and the service at --public-url.
    Doctor(Box<doctor::command::DoctorArgs>),
    /// Show, test and retry outgoing webhooks of a running service
    Webhook(webhook::WebhookArgs),
    /// Reprocess stored ElevenLabs events
    Replay(replay::ReplayArgs),
    /// Permanently erase a call, or everything about a driver
    Erase(erase::EraseArgs),
    /// Erase calls whose last activity is long ago
    Prune(prune::PruneArgs),
    /// Check that a service is ready; exit 1 if not
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print the generated API token, or the sign-in URL
    Token(token::TokenArgs),
    /// Print the agent's tool, systemd unit, dashboard, alert rules, OpenAPI document, completions or manual pages
    Generate(generate::command::GenerateArgs),
}

/// The flags of `serve`, with their variables, defaults and meanings, as a Markdown table.
pub fn configuration_table() -> String {
    generate::configuration_table(Cli::command())
}

/// Parses the command line and runs the command. The log is flushed before the error of a failed command is printed.
pub fn run() -> ExitCode {
    let command = with_hidden_urls(with_lenient_variables(former_variables::accept(Cli::command())));
    let matches = command.try_get_matches().unwrap_or_else(|error| shorten_url(error).exit());
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let done =
        telemetry::start(cli.logs.log_format.into(), cli.logs.log_level).context("cannot log").and_then(|_flush| {
            warn_of_unknown_variables();
            match cli.command {
                Command::Serve(args) => serve::run(&args),
                Command::Migrate(args) => migrate::run(&args),
                Command::Search(args) => search::run(&args),
                Command::Backup(args) => backup::run(&args),
                Command::Restore(args) => restore::run(&args),
                Command::Check(args) => check::run(&args),
                Command::Mcp(args) => mcp::run(&args),
                Command::Export(args) => export::run(&args),
                Command::Import(args) => import::command::run(&args),
                Command::Backfill(args) => backfill::run(&args),
                Command::Simulate(args) => simulate::run(&args),
                Command::Doctor(args) => doctor::command::run(&args),
                Command::Webhook(args) => webhook::run(&args),
                Command::Replay(args) => replay::run(&args),
                Command::Erase(args) => erase::run(&args),
                Command::Prune(args) => prune::run(&args),
                Command::Healthcheck(args) => healthcheck::run(&args),
                Command::Token(args) => token::run(&args),
                Command::Generate(args) => generate::command::run(&args, Cli::command()),
            }
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint_line(format_args!("error: {}", error_line(&error)));
            if is_usage(&error) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Warns of variables that look like flags of this program but are none, such as misspelled ones.
fn warn_of_unknown_variables() {
    for UnknownVariable { name, suggestion } in unknown_variables(&former_variables::accept(Cli::command())) {
        let hint = suggestion.as_ref().map_or(String::new(), |known| format!("; did you mean {known}?"));
        tracing::warn!(variable = name, suggestion, "unknown variable {name} ignored{hint}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::url_values::is_of_url;
    use clap::Command as ClapCommand;

    /// Words that no error may show.
    const HIDDEN: &str = "hidden_word";

    /// Passes the commands before each flag for a URL, and the flag's name, to `check`.
    fn for_each_url_flag(command: &ClapCommand, before: &[String], check: &mut dyn FnMut(&[String], &str)) {
        for arg in command.get_arguments().filter(|arg| is_of_url(arg)) {
            check(before, arg.get_long().expect("a flag"));
        }
        for below in command.get_subcommands() {
            let line = [before, &[below.get_name().to_owned()]].concat();
            for_each_url_flag(below, &line, check);
        }
    }

    #[test]
    fn no_flag_shows_a_url_that_it_refuses() {
        let command = Cli::command();
        let mut refused = Vec::new();
        for_each_url_flag(&command, &["transcribe-hook".to_owned()], &mut |before, flag| {
            for url in [
                format!("https://anna:{HIDDEN}@h.example"),
                format!("https://anna:{HIDDEN}/@h.example/"),
                format!("ftp://h.example/{HIDDEN}?key={HIDDEN}#{HIDDEN}"),
                format!("anna:{HIDDEN}@h.example"),
                format!("https://h.example/{HIDDEN}?key={HIDDEN} {HIDDEN}"),
            ] {
                let line = before.iter().cloned().chain([format!("--{flag}"), url.clone()]);
                if let Err(error) = command.clone().try_get_matches_from(line) {
                    let said = shorten_url(error).to_string();
                    assert!(!said.contains(HIDDEN), "{before:?} --{flag} {url}: {said}");
                    refused.push(flag.to_owned());
                }
            }
        });
        refused.dedup();
        for flag in ["public-url", "url", "elevenlabs-base-url", "acme-directory", "allow-origin"] {
            assert!(refused.iter().any(|refused| refused == flag), "{flag} accepts everything: {refused:?}");
        }
    }

    #[test]
    fn every_flag_that_is_named_as_a_url_is_one() {
        let mut unnamed = Vec::new();
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            let flags = command.get_arguments().filter(|arg| arg.get_action().takes_values() && !is_of_url(arg));
            let flags = flags.filter_map(|arg| arg.get_long().map(str::to_owned));
            unnamed.extend(flags.filter(|name| name.ends_with("url") || name.contains("origin")));
            commands.extend(command.get_subcommands().cloned());
        }
        assert_eq!(unnamed, [""; 0], "these values are not hidden");
    }

    #[test]
    fn an_error_still_shows_the_host_and_other_values_whole() {
        let refused = |line: &[&str]| shorten_url(Cli::command().try_get_matches_from(line).unwrap_err()).to_string();
        let said = refused(&["transcribe-hook", "serve", "--public-url", "https://anna:word@h.example/x"]);
        assert!(said.contains("https://h.example/…") && said.contains("--public-url"), "{said}");
        let said = refused(&["transcribe-hook", "serve", "--queue-capacity", "many"]);
        assert!(said.contains("many"), "{said}");
    }
}
