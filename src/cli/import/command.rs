//! The `import` command: reads drivers and dispatches from a file, all or nothing. Works while the service runs.

use crate::cli::args::database::NewDatabaseArgs;
use crate::cli::args::input::open;
use crate::cli::output::{count, eprint_line, print_line};
use crate::cli::usage_error::usage;
use crate::domain::Timestamp;
use crate::domain::driver_form::{parse_dispatch, parse_driver};
use crate::import::{Columns, ImportFormat, ParsedRows, ReadError, RowError, read_rows};
use crate::store::command::{Command, PutDispatches, PutDrivers, execute};
use crate::store::{Counts, Rejection};
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArgs {
    #[command(subcommand)]
    what: ImportKind,
}

#[derive(Debug, Subcommand)]
enum ImportKind {
    /// Import calls with all their data from `export --format jsonl`
    Calls(super::calls::CallsArgs),
    /// Import drivers from a file
    ///
    /// Columns: `id`, `name` and optionally `phone_number`.
    Drivers(FileArgs),
    /// Import dispatches from a file
    ///
    /// Columns: `conversation_id`, `driver_id`, and optionally `phone_number`, `batch_id` and `dispatched_at`.
    Dispatches(FileArgs),
}

#[derive(Debug, Args)]
struct FileArgs {
    /// Read this file; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    database: NewDatabaseArgs,
    /// Set the format; default: by the file's extension
    #[arg(long, env = "TRANSCRIBE_HOOK_FORMAT", value_name = "FORMAT")]
    format: Option<ImportFormatArg>,
    /// Store the valid rows even if others are invalid
    #[arg(long, env = "TRANSCRIBE_HOOK_SKIP_BAD")]
    skip_bad: bool,
    /// Print the result as JSON
    #[arg(long, env = "TRANSCRIBE_HOOK_JSON")]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ImportFormatArg {
    /// Comma-separated values with a header
    Csv,
    /// One JSON object per line
    Jsonl,
}

impl From<ImportFormatArg> for ImportFormat {
    fn from(format: ImportFormatArg) -> Self {
        match format {
            ImportFormatArg::Csv => Self::Csv,
            ImportFormatArg::Jsonl => Self::JsonLines,
        }
    }
}

pub(in crate::cli) fn run(args: &ImportArgs) -> Result<()> {
    match &args.what {
        ImportKind::Calls(args) => super::calls::run(args),
        ImportKind::Drivers(args) => {
            let rows = read_rows(open(&args.file)?, format(args)?, DRIVER_COLUMNS, |fields| parse_driver(fields, None));
            store(args, rows, "id", |driver| driver.id, PutDrivers)
        }
        ImportKind::Dispatches(args) => {
            let rows =
                read_rows(open(&args.file)?, format(args)?, DISPATCH_COLUMNS, |fields| parse_dispatch(fields, None));
            store(args, rows, "conversation_id", |dispatch| dispatch.conversation_id.clone(), PutDispatches)
        }
    }
}

/// Columns of a file of drivers.
const DRIVER_COLUMNS: Columns = Columns { required: &["id", "name"], optional: &["phone_number"] };

/// Columns of a file of dispatches.
const DISPATCH_COLUMNS: Columns =
    Columns { required: &["conversation_id", "driver_id"], optional: &["phone_number", "batch_id", "dispatched_at"] };

fn format(args: &FileArgs) -> Result<ImportFormat> {
    let ending = args.file.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    match (args.format, ending.as_deref()) {
        (Some(format), _) => Ok(format.into()),
        (None, Some("csv" | "tsv" | "tab")) => Ok(ImportFormat::Csv),
        (None, Some("jsonl" | "ndjson" | "json")) => Ok(ImportFormat::JsonLines),
        _ => {
            let file = args.file.display();
            Err(usage(format_args!("the extension of {file} is no format; pass --format csv or --format jsonl")))
        }
    }
}

/// Stores the rows in one transaction, and prints the counts.
fn store<T: Clone, K: std::hash::Hash + Eq, C: Command<Output = Counts>>(
    args: &FileArgs,
    rows: Result<ParsedRows<T>, ReadError>,
    key_field: &str,
    key: impl Fn(&T) -> K,
    command: impl Fn(Vec<T>) -> C,
) -> Result<()> {
    let mut parsed = rows.with_context(|| args.file.display().to_string())?;
    parsed.reject_repeated(key_field, key);
    let ParsedRows { mut rows, errors: mut bad } = parsed;
    let database = args.database.open()?;
    let counts = loop {
        if !bad.is_empty() && !args.skip_bad {
            report(&mut bad);
            let invalid = count(bad.len(), "invalid row");
            bail!("nothing was stored because of {invalid}; --skip-bad stores the others");
        }
        if rows.is_empty() {
            break Counts::default();
        }
        let change = command(rows.iter().map(|row| row.value.clone()).collect());
        match execute(&database, Timestamp::now(), change)? {
            Ok(counts) => break counts,
            Err(Rejection::Elements(refused)) => {
                // A removed row may have been a requirement of others, so the remaining rows are tried again.
                for element in refused.iter().rev() {
                    let row = rows.remove(element.index);
                    bad.push(RowError { line: row.line, reason: element.problem().to_string() });
                }
            }
            Err(rejection) => bail!("the rows were refused: {rejection:?}"),
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

fn report(bad: &mut [RowError]) {
    bad.sort_by_key(|row| row.line);
    for row in bad {
        eprint_line(format_args!("{row}"));
    }
}
