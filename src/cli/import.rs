//! `import`: drivers and dispatches from a file, all of it or nothing, also while the service runs.

use super::DatabaseArgs;
use super::{eprint_line, print_line};
use crate::drivers::{read_dispatch, read_driver};
use crate::import::{BadRow, Columns, Format, Row, read_rows, without_doubles};
use crate::model::Timestamp;
use crate::store::sqlite::{Options, SqliteStore};
use crate::store::{Counts, Rejection, Store as _, Write, Written};
use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Calls with their turns and all that belongs to them, as `export --format jsonl` wrote them
    Calls(super::import_calls::CallsArgs),
    /// Drivers, by the columns `id`, `name` and `phone_number`
    Drivers(FileArgs),
    /// Outbound calls, by the columns `conversation_id`, `driver_id`, `phone_number`, `batch_id` and `dispatched_at`
    Dispatches(FileArgs),
}

#[derive(Debug, Args)]
struct FileArgs {
    /// The file, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    database: DatabaseArgs,
    /// How the file is laid out; without this, by the ending of its name
    #[arg(long, env = "TRANSCRIBE_HOOK_FORMAT", value_name = "FORMAT")]
    format: Option<FormatName>,
    /// Store the good rows although there are bad ones
    #[arg(long, env = "TRANSCRIBE_HOOK_SKIP_BAD")]
    skip_bad: bool,
    /// Print the result as JSON
    #[arg(long, env = "TRANSCRIBE_HOOK_JSON")]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatName {
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a line
    Jsonl,
}

pub(super) fn run(args: &ImportArgs) -> Result<()> {
    match &args.what {
        What::Calls(args) => super::import_calls::run(args),
        What::Drivers(args) => {
            let rows = read_rows(open(&args.file)?, format(args)?, DRIVERS, |fields| read_driver(fields, None));
            store(args, rows, "id", |driver| driver.id, Write::PutDrivers)
        }
        What::Dispatches(args) => {
            let rows = read_rows(open(&args.file)?, format(args)?, DISPATCHES, |fields| read_dispatch(fields, None));
            store(args, rows, "conversation_id", |dispatch| dispatch.conversation_id.clone(), Write::PutDispatches)
        }
    }
}

/// Columns of a file of drivers.
const DRIVERS: Columns = Columns { required: &["id", "name"], optional: &["phone_number"] };

/// Columns of a file of dispatches.
const DISPATCHES: Columns =
    Columns { required: &["conversation_id", "driver_id"], optional: &["phone_number", "batch_id", "dispatched_at"] };

pub(super) fn open(file: &Path) -> Result<Box<dyn Read>> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Box::new(opened))
}

fn format(args: &FileArgs) -> Result<Format> {
    let ending = args.file.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    match (args.format, ending.as_deref()) {
        (Some(FormatName::Csv), _) | (None, Some("csv" | "tsv" | "tab")) => Ok(Format::Csv),
        (Some(FormatName::Jsonl), _) | (None, Some("jsonl" | "ndjson" | "json")) => Ok(Format::JsonLines),
        _ => {
            bail!("cannot tell the format of {} by its name; give --format csv or --format jsonl", args.file.display())
        }
    }
}

/// Stores the rows by one change, and prints what it did.
fn store<T: Clone, K: std::hash::Hash + Eq>(
    args: &FileArgs,
    rows: Result<(Vec<Row<T>>, Vec<BadRow>), String>,
    key_field: &str,
    key: impl Fn(&T) -> K,
    write: impl Fn(Vec<T>) -> Write,
) -> Result<()> {
    let (rows, mut bad) = rows.map_err(|error| anyhow!(error)).with_context(|| args.file.display().to_string())?;
    let (mut rows, doubles) = without_doubles(rows, key_field, key);
    bad.extend(doubles);
    let options = Options { path: args.database.database.clone(), busy_timeout: Duration::from_secs(10), readers: 1 };
    let database = SqliteStore::open_beside_service(&options)?;
    let counts = loop {
        if !bad.is_empty() && !args.skip_bad {
            report(&mut bad);
            bail!("nothing was stored, since {} rows are bad; --skip-bad stores the others", bad.len());
        }
        if rows.is_empty() {
            break Counts::default();
        }
        let change = write(rows.iter().map(|row| row.value.clone()).collect());
        match database.apply(Timestamp::now(), &[change])?.pop() {
            Some(Ok(Written::Drivers(counts) | Written::Dispatches(counts))) => break counts,
            Some(Err(Rejection::Elements(refused))) => {
                // Without these rows, rows that leaned on them may be refused in turn, hence the loop.
                for element in refused.iter().rev() {
                    let row = rows.remove(element.index);
                    bad.push(BadRow { line: row.line, reason: element.problem().to_string() });
                }
            }
            other => unreachable!("a bulk change is answered by its counts or its bad elements, not {other:?}"),
        }
    };
    report(&mut bad);
    if args.json {
        let Counts { created, updated, unchanged } = counts;
        print_line(format_args!(
            "{}",
            serde_json::json!({ "created": created, "updated": updated, "unchanged": unchanged, "bad": bad.len() })
        ))?;
    } else {
        print_line(format_args!(
            "{} created, {} updated, {} unchanged, {} bad",
            counts.created,
            counts.updated,
            counts.unchanged,
            bad.len()
        ))?;
    }
    Ok(())
}

fn report(bad: &mut [BadRow]) {
    bad.sort_by_key(|row| row.line);
    for row in bad {
        eprint_line(format_args!("{row}"));
    }
}
