//! The processes under load. Starts and stops them, and counts the rows in their databases.

use crate::machine;
use crate::target::Target;
use crate::workload;
use anyhow::{Context as _, Result, bail, ensure};
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Timeout until a process listens, and until it ends.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The table where a process stores turns, and its rows before the run.
pub(crate) struct Rows {
    database: PathBuf,
    table: &'static str,
    /// Largest row id before the run; new ones are larger.
    last: i64,
}

impl Rows {
    /// Returns the rows of a table that does not exist yet.
    pub(crate) fn empty(database: PathBuf, table: &'static str) -> Self {
        Self { database, table, last: 0 }
    }

    /// Returns the rows of the service's database, which may not exist yet.
    fn of_service(database: PathBuf) -> Result<Self> {
        let mut rows = Self::empty(database, "call_transcriptions");
        if rows.database.exists() {
            rows.last = rows.query_number("SELECT coalesce(max(rowid), 0) FROM call_transcriptions")?;
        }
        Ok(rows)
    }

    fn since(&self) -> Result<u64> {
        let rows = self.query_number(&format!("SELECT count(*) FROM {} WHERE rowid > {}", self.table, self.last))?;
        Ok(u64::try_from(rows)?)
    }

    fn query_number(&self, sql: &str) -> Result<i64> {
        // Not read-only, because the last connection should leave no WAL behind.
        let database = Connection::open_with_flags(&self.database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Ok(database.query_row(sql, [], |row| row.get(0))?)
    }
}

/// The source of a process's listening address.
pub(crate) enum Listening {
    /// The process logs its address.
    Logged,
    /// The address is known before the start.
    At(SocketAddr),
}

/// A process that listens. On drop, it is killed and its folder is deleted.
pub(crate) struct Server {
    pub(crate) target: Target,
    child: Child,
    address: SocketAddr,
    started: Instant,
    /// Time from before the process was started until it listened.
    pub(crate) until_listening: Duration,
    /// Path that turns are sent to.
    pub(crate) path: &'static str,
    rows: Option<Rows>,
    _folder: TempDir,
}

impl Server {
    /// Starts a process over an empty database in a new folder below `place`.
    pub(crate) fn start(target: Target, place: &Path) -> Result<Self> {
        let folder = TempDir::new_in(place)?;
        let database = folder.path().join("calls.db");
        Self::start_in(target, database, folder)
    }

    /// Starts a process over an empty database in a new folder below `place`, with more arguments.
    pub(crate) fn start_with(target: Target, place: &Path, arguments: &[&OsStr]) -> Result<Self> {
        let folder = TempDir::new_in(place)?;
        let database = folder.path().join("calls.db");
        let mut command = target.command(&database)?;
        command.args(arguments);
        let rows = Rows::of_service(database)?;
        Self::spawn(target, command, &Listening::Logged, workload::TURN_WEBHOOK_PATH, Some(rows), folder)
    }

    /// Starts the service over an existing database.
    pub(crate) fn start_on(target: Target, database: &Path, place: &Path) -> Result<Self> {
        Self::start_in(target, database.to_owned(), TempDir::new_in(place)?)
    }

    fn start_in(target: Target, database: PathBuf, folder: TempDir) -> Result<Self> {
        let command = target.command(&database)?;
        let rows = match target {
            Target::NoStore | Target::NoQueue => None,
            _ => Some(Rows::of_service(database)?),
        };
        Self::spawn(target, command, &Listening::Logged, workload::TURN_WEBHOOK_PATH, rows, folder)
    }

    /// Runs `command`. Its log is written to a file in `folder`, because in production something would store it too.
    pub(crate) fn spawn(
        target: Target,
        mut command: Command,
        listening: &Listening,
        path: &'static str,
        rows: Option<Rows>,
        folder: TempDir,
    ) -> Result<Self> {
        let log = folder.path().join("log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {}", target.name()))?;
        let address = loop {
            let address = match listening {
                Listening::Logged => address(&std::fs::read_to_string(&log)?),
                Listening::At(address) => TcpStream::connect(address).is_ok().then_some(*address),
            };
            if let Some(address) = address {
                break address;
            }
            if let Some(status) = child.try_wait()? {
                bail!("{} ended with {status}: {}", target.name(), std::fs::read_to_string(&log)?);
            }
            if started.elapsed() > TIMEOUT {
                let _ = child.kill();
                let _ = child.wait();
                bail!("{} does not listen: {}", target.name(), std::fs::read_to_string(&log)?);
            }
            std::thread::sleep(Duration::from_micros(200));
        };
        let until_listening = started.elapsed();
        Ok(Self { target, child, address, started, until_listening, path, rows, _folder: folder })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns a seed that was not used for this database before.
    pub(crate) fn seed(&self) -> u64 {
        self.rows.as_ref().map_or(0, |rows| rows.last.unsigned_abs())
    }

    /// Returns the memory in KiB: current and peak.
    pub(crate) fn memory(&self) -> (u64, u64) {
        machine::memory(self.pid())
    }

    /// Returns the time from before the process was started until it answers 200 at `/readyz`.
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

    /// Stops the process gracefully. The service's database must then contain exactly the turns that were acknowledged.
    /// A peer's database must contain at least those, because a peer may store a turn and fail to acknowledge it.
    pub(crate) fn stop(mut self, answered: u64) -> Result<()> {
        let name = self.target.name();
        let sent = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        ensure!(sent.success(), "{name} takes no signal");
        let status = self.ended()?;
        let strict = self.target.keeps_promises();
        ensure!(!strict || status.success(), "{name} ended with {status}");
        if let Some(rows) = &self.rows {
            let stored = rows.since()?;
            let kept = if strict { stored == answered } else { stored >= answered };
            ensure!(kept, "{name} answered that {answered} turns are stored, but {stored} are");
        }
        Ok(())
    }

    fn ended(&mut self) -> Result<ExitStatus> {
        let end = Instant::now() + TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < end, "{} does not end", self.target.name());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the address at which the process listens, once its log says so.
fn address(log: &str) -> Option<SocketAddr> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.into_iter().find_map(|line| line["address"].as_str()?.parse().ok())
}
