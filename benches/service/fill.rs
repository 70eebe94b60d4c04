//! Databases that hold many turns before the service is started over them, made through the store itself.

use crate::progress;
use crate::stats::float;
use crate::workload::{self, Script, TURNS_PER_CALL};
use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use transcribe_hook::domain::{CallChange, CallStatus, ConversationId, Timestamp};
use transcribe_hook::store::sqlite::{Options, SqliteStore};
use transcribe_hook::store::{Commands as _, Maintenance as _, Write};

/// Number of calls at the same time, because real calls interleave too. The last calls of this number remain in
/// progress.
const CALLS_AT_ONCE: usize = 100;

/// Turns in a transaction.
pub(crate) const BATCH_TURNS: usize = CALLS_AT_ONCE * TURNS_PER_CALL as usize;

/// A database that was filled.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Filled {
    #[serde(skip)]
    pub(crate) path: PathBuf,
    pub(crate) turns: u64,
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
    /// Duration of storing the turns, in this run of the benchmark or an earlier one.
    pub(crate) seconds: f64,
}

/// Ensures that the database at `path` contains `turns` turns, and at most a quarter more. An existing database is used
/// if it has the schema of this version of the service, and filled up if it has fewer turns.
pub(crate) fn fill(path: &Path, turns: u64) -> Result<Filled> {
    let (seconds_file, schema) = (path.with_extension("seconds"), newest_schema(path)?);
    let usable = path.exists() && look(path).is_ok_and(|(had, count, _)| had == schema && count <= turns + turns / 4);
    if !usable {
        remove(path)?;
        remove(&seconds_file)?;
    }
    let mut seconds = fs::read_to_string(&seconds_file).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    let had = if usable { look(path)?.1 } else { 0 };
    if had < turns {
        progress(&format!("storing {} turns in {}", turns - had, path.display()));
        seconds += append(path, had, turns)?.as_secs_f64();
        fs::write(&seconds_file, seconds.to_string())?;
    }
    let (_, turns, calls) = look(path)?;
    Ok(Filled { path: path.to_owned(), turns, calls, bytes: fs::metadata(path)?.len(), seconds })
}

/// Copies a database, and syncs the copy. Otherwise the system would write it while the service is measured.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<PathBuf> {
    fs::copy(from, to)?;
    File::open(to)?.sync_all()?;
    Ok(to.to_owned())
}

/// Stores turns until there are `turns`, and returns the time until all of them were in the database file and on disk.
fn append(path: &Path, had: u64, turns: u64) -> Result<Duration> {
    let begun = Instant::now();
    let store = open(path)?;
    let mut script = Script::new(workload::TURN_WEBHOOK_PATH, CALLS_AT_ONCE, Some(TURNS_PER_CALL), had);
    let mut running: Vec<Option<ConversationId>> = vec![None; CALLS_AT_ONCE];
    let mut stored = had;
    while stored < turns {
        let (mut batch, mut over) = (Vec::with_capacity(BATCH_TURNS), Vec::new());
        for _ in 0..BATCH_TURNS.min(usize::try_from(turns - stored)?) {
            let call = batch.len() % CALLS_AT_ONCE;
            let mut turn = script.next_turn(call);
            turn.timestamp = said_at(stored)?;
            stored += 1;
            if running[call].as_ref() != Some(&turn.conversation_id) {
                over.extend(running[call].replace(turn.conversation_id.clone()));
            }
            batch.push(Write::AppendTurn(turn));
        }
        let completed = CallChange { status: Some(CallStatus::Completed), ..CallChange::default() };
        batch.extend(over.into_iter().map(|call| Write::ChangeCall(call, completed.clone())));
        // They arrived when they were said: some weeks ago, as most of what a service keeps.
        let outcomes = store.apply(said_at(stored - 1)?, &batch)?;
        ensure!(outcomes.iter().all(Result::is_ok), "the store refused a turn");
        if stored % 1_000_000 < BATCH_TURNS as u64 {
            progress(&format!("{stored} turns, {:.0}/s", float(stored - had) / begun.elapsed().as_secs_f64()));
        }
    }
    // As a service that has had some quiet leaves it.
    while store.catch_up()?.turns > 0 {}
    drop(store);
    File::open(path)?.sync_all()?;
    Ok(begun.elapsed())
}

/// Calls begin one after the other over some weeks.
fn said_at(turn: u64) -> Result<Timestamp> {
    const FIRST: i128 = 1_767_225_600_000_000_000; // 2026-01-01
    const STEP: i128 = 250_000_000;
    let instant = OffsetDateTime::from_unix_timestamp_nanos(FIRST + i128::from(turn) * STEP)?;
    Timestamp::parse(&instant.format(&Rfc3339)?).map_err(|invalid| anyhow::anyhow!("{invalid}"))
}

pub(crate) fn open(path: &Path) -> Result<SqliteStore> {
    let options = Options { path: path.to_owned(), busy_timeout: Duration::from_secs(10), readers: 1 };
    SqliteStore::open(&options).map_err(|error| anyhow::anyhow!("{error}"))
}

/// Returns the schema that this version of the service creates.
fn newest_schema(beside: &Path) -> Result<String> {
    let folder = tempfile::TempDir::new_in(beside.parent().context("a file in a folder")?)?;
    let path = folder.path().join("empty.db");
    drop(open(&path)?);
    Ok(look(&path)?.0)
}

/// Returns the schema, and the numbers of turns and calls. None is ever deleted here.
fn look(path: &Path) -> Result<(String, u64, u64)> {
    // Not read-only, since the last connection should leave no log behind.
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let schema = "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema ORDER BY name)";
    let schema = database.query_row(schema, [], |row| row.get(0))?;
    let last = |table| {
        database.query_row(&format!("SELECT coalesce(max(rowid), 0) FROM {table}"), [], |row| row.get::<_, u64>(0))
    };
    Ok((schema, last("call_transcriptions")?, last("calls")?))
}

/// The conversations of some of its calls, as random as `numbers` are.
pub(crate) fn conversations(filled: &Filled, numbers: impl Iterator<Item = u64>) -> Result<Vec<String>> {
    let database = Connection::open_with_flags(&filled.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut find = database.prepare("SELECT conversation_id FROM calls WHERE rowid = ?1")?;
    numbers.map(|number| Ok(find.query_row([1 + number % filled.calls], |row| row.get(0))?)).collect()
}

/// Deletes a database with the files of SQLite and the service beside it.
fn remove(path: &Path) -> Result<()> {
    for ending in ["", "-wal", "-shm", ".lock", ".search", ".search-wal", ".search-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
