//! Targets of the load: the service, the service with parts left out, and its alternatives.

use anyhow::Result;
use clap::ValueEnum as _;
use serde::Serialize;
use std::path::Path;
use std::process::Command;

/// Parts that a server of the benchmark leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Without {
    /// The database: the writer's thread acknowledges each turn without storing it.
    Store,
    /// The search index.
    Index,
    /// The writer's thread and the generated operation too: the handler responds at once.
    Queue,
}

/// A target of the load, and its circumstances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// The real binary over an empty database.
    Service,
    /// The real binary over an empty database, without a log line per request.
    Quiet,
    /// The HTTP stack and the writer's thread, without a database.
    NoStore,
    /// The service without indexing of turns.
    NoIndex,
    /// The HTTP stack alone.
    NoQueue,
    /// The real binary over a database of very many turns.
    Large,
    /// The real binary over a filled database.
    Filled,
    /// The real binary over a filled database that is copied repeatedly.
    DuringBackups,
    /// The real binary over a filled database that is copied, exported and searched repeatedly.
    BesideOtherWork,
    /// The real binary over a filled database, while its calls are erased one by one.
    DuringPrune,
    /// The real binary over a database of many records, which it parses again.
    BesideRereads,
    /// The real binary over an empty database, with many live streams open.
    BesideStreams,
    /// The real binary over an empty database, with three endpoints of outgoing webhooks: a slow one, and one that is
    /// away.
    BesideReceivers,
    /// The real binary over an empty database, with very many alerts.
    WithAlerts,
    /// The real binary over an empty database, asked about inbound calls.
    BesideInitiations,
    /// `PocketBase`, a service in Go over SQLite, with its default settings.
    PocketBase,
    /// The webhook as one would first write it in Python.
    FastApi,
}

impl Target {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Quiet => "service, no log line a request",
            Self::NoStore => "no store",
            Self::NoIndex => "no index",
            Self::NoQueue => "no queue",
            Self::Large => "service, large database",
            Self::Filled => "service, nothing beside it",
            Self::DuringBackups => "service, during backups",
            Self::BesideOtherWork => "service, during backups, exports and searches",
            Self::DuringPrune => "service, while old calls are erased",
            Self::BesideRereads => "service, parsing records again",
            Self::BesideStreams => "service, live streams open",
            Self::BesideReceivers => "service, three receivers of notices",
            Self::WithAlerts => "service, a thousand alerts",
            Self::BesideInitiations => "service, inbound calls",
            Self::PocketBase => "PocketBase",
            Self::FastApi => "FastAPI",
        }
    }

    /// Returns whether the target's database must contain exactly as many turns as it acknowledged.
    pub(crate) fn keeps_promises(self) -> bool {
        !matches!(self, Self::PocketBase | Self::FastApi)
    }

    /// Returns the command that runs it, for targets of this project.
    pub(crate) fn command(self, database: &Path) -> Result<Command> {
        Ok(match self {
            Self::NoStore | Self::NoQueue | Self::NoIndex => {
                let without = match self {
                    Self::NoStore => Without::Store,
                    Self::NoIndex => Without::Index,
                    _ => Without::Queue,
                };
                let without = without.to_possible_value().expect("no value is hidden");
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--serve-without", without.get_name(), "--database"]).arg(database);
                remove_settings(&mut command);
                command
            }
            _ => {
                let mut command = service();
                let level = if self == Self::Quiet { "info,poem=warn,http=off" } else { "info,poem=warn" };
                command.args([
                    "serve",
                    "--listen",
                    "127.0.0.1:0",
                    "--log-format",
                    "json",
                    "--no-token",
                    "--log-level",
                    level,
                ]);
                command.arg("--database").arg(database);
                command
            }
        })
    }
}

/// Returns the command of the real binary, without settings from the environment.
pub(crate) fn service() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_transcribe-hook"));
    remove_settings(&mut command);
    command
}

fn remove_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRANSCRIBE_HOOK_") {
            command.env_remove(name);
        }
    }
}
