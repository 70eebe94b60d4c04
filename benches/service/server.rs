//! The processes under load: started over a database of their own, watched, stopped, and their database counted.

use crate::ceiling::Without;
use crate::machine;
use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum as _;
use serde::Serialize;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What is put under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// The real binary.
    Service,
    /// The real binary, told to log no line a request.
    Quiet,
    /// The same HTTP stack and the writer's thread, but no database.
    NoStore,
    /// The HTTP stack alone, which answers by itself.
    NoQueue,
}

impl Target {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Quiet => "service, no log line a request",
            Self::NoStore => "no store",
            Self::NoQueue => "no queue",
        }
    }

    fn command(self, database: &Path) -> Result<Command> {
        let mut command = match self {
            Self::Service | Self::Quiet => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_transcribe-hook"));
                let level = if self == Self::Quiet { "info,poem=warn,http=off" } else { "info,poem=warn" };
                command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--log-level", level]);
                command.arg("--database").arg(database);
                command
            }
            Self::NoStore | Self::NoQueue => {
                let without = if self == Self::NoStore { Without::Store } else { Without::Queue };
                let without = without.to_possible_value().expect("no value is hidden");
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--serve-without", without.get_name()]);
                command
            }
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TRANSCRIBE_HOOK_") {
                command.env_remove(name);
            }
        }
        Ok(command)
    }
}

/// A process that listens. Killed when it goes out of scope, its folder removed.
pub(crate) struct Server {
    target: Target,
    child: Child,
    address: SocketAddr,
    started: Instant,
    /// From before the process was made until its line in the log that it listens was read.
    pub(crate) until_listening: Duration,
    database: PathBuf,
    _folder: TempDir,
}

impl Server {
    /// Starts one over an empty database in a new folder below `place`. Its log goes to a file there, as it would in
    /// production go to something that keeps it.
    pub(crate) fn start(target: Target, place: &Path) -> Result<Self> {
        let folder = TempDir::new_in(place)?;
        let (database, log) = (folder.path().join("calls.db"), folder.path().join("log"));
        let mut command = target.command(&database)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {}", target.name()))?;
        let address = loop {
            if let Some(address) = address(&std::fs::read_to_string(&log)?) {
                break address;
            }
            if let Some(status) = child.try_wait()? {
                bail!("{} ended with {status}: {}", target.name(), std::fs::read_to_string(&log)?);
            }
            std::thread::sleep(Duration::from_micros(200));
        };
        Ok(Self { target, child, address, started, until_listening: started.elapsed(), database, _folder: folder })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The memory, in KiB: now, and at its greatest.
    pub(crate) fn memory(&self) -> (u64, u64) {
        machine::memory(self.pid())
    }

    /// From before the process was made until it said that it is ready.
    pub(crate) fn until_ready(&self) -> Result<Duration> {
        loop {
            let mut connection = TcpStream::connect(self.address)?;
            connection.write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer)?;
            if answer.starts_with("HTTP/1.1 200 ") {
                return Ok(self.started.elapsed());
            }
        }
    }

    /// Stops the process in order. Where there is a database, it must hold as many turns as were answered.
    pub(crate) fn stop(mut self, answered: u64) -> Result<()> {
        let sent = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        ensure!(sent.success(), "{} takes no signal", self.target.name());
        let status = self.child.wait()?;
        ensure!(status.success(), "{} ended with {status}", self.target.name());
        if matches!(self.target, Target::Service | Target::Quiet) {
            let database =
                rusqlite::Connection::open_with_flags(&self.database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let stored: u64 = database.query_row("SELECT count(*) FROM call_transcriptions", [], |row| row.get(0))?;
            ensure!(stored == answered, "{answered} turns were answered 201, but {stored} are stored");
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the process listens, once its log says so.
fn address(log: &str) -> Option<SocketAddr> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.into_iter().find_map(|line| line["address"].as_str()?.parse().ok())
}
