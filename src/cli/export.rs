//! The `export` command: writes calls in several formats. Works while the service runs.

use super::args::call_filter::CallFilterArgs;
use super::args::database::DatabaseArgs;
use super::output::{count, print_line, standard_output};
use super::usage_error::{OrUsage as _, usage};
use crate::domain::TurnKind;
use crate::export::{self, ExportCounts, ExportForm, ExportFormat};
use crate::store::CallFilter;
use crate::store::sqlite::ReadOnly;
use crate::sys::atomic_file::PartialFile;
use crate::sys::low_priority::Background;
use anyhow::{Context as _, Result, bail};
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Write to this new file; - is standard output
    #[arg(value_name = "OUT", default_value = "-", hide_default_value = true)]
    out: PathBuf,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Set the format; default: by the file's extension
    #[arg(long, env = "TRANSCRIBE_HOOK_FORMAT", value_name = "FORMAT")]
    format: Option<ExportFormatArg>,
    /// Start a CSV file with a byte order mark
    ///
    /// Excel on Windows needs it for letters beyond ASCII.
    #[arg(long, env = "TRANSCRIBE_HOOK_BOM")]
    bom: bool,
    #[command(flatten)]
    calls: CallFilterArgs,
    /// Export only calls that contain this text
    ///
    /// Searches the conversation id, the driver's name, the end of the number, and the messages where a word begins;
    /// with an asterisk before the text, also within words.
    #[arg(long, env = "TRANSCRIBE_HOOK_Q", value_name = "TEXT")]
    q: Option<String>,
    /// Export only turns of this kind; repeat for several
    #[arg(long, env = "TRANSCRIBE_HOOK_KIND", value_name = "KIND", value_delimiter = ',')]
    kind: Vec<KindArg>,
    /// Include tool calls between the turns
    #[arg(long, env = "TRANSCRIBE_HOOK_INCLUDE", value_name = "PART")]
    include: Option<IncludeArg>,
}

/// A kind of turn.
#[derive(Debug, Clone, Copy)]
struct KindArg(TurnKind);

impl ValueEnum for KindArg {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self(TurnKind::Speech),
            Self(TurnKind::Silence),
            Self(TurnKind::Backchannel),
            Self(TurnKind::Keypad),
            Self(TurnKind::Text),
            Self(TurnKind::Context),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.as_str()))
    }
}

/// A part of calls that is exported only on request.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum IncludeArg {
    Tools,
}

/// The command-line form of [`ExportFormat`].
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ExportFormatArg {
    #[value(name = "jsonl")]
    JsonLines,
    Csv,
    CallsCsv,
    Text,
    Markdown,
    #[value(name = "vtt")]
    WebVtt,
    #[value(name = "srt")]
    SubRip,
}

impl From<ExportFormatArg> for ExportFormat {
    fn from(format: ExportFormatArg) -> Self {
        match format {
            ExportFormatArg::JsonLines => Self::JsonLines,
            ExportFormatArg::Csv => Self::Csv,
            ExportFormatArg::CallsCsv => Self::CallsCsv,
            ExportFormatArg::Text => Self::Text,
            ExportFormatArg::Markdown => Self::Markdown,
            ExportFormatArg::WebVtt => Self::WebVtt,
            ExportFormatArg::SubRip => Self::SubRip,
        }
    }
}

pub(super) fn run(args: &ExportArgs) -> Result<()> {
    let to_stdout = args.out == Path::new("-");
    let format = format(args)?;
    if format.holds_one_call() && args.calls.conversation_id.is_none() {
        let name = format.name();
        return Err(usage(format_args!(
            "a {name} file holds one call, because its times start with the call; pass --conversation-id"
        )));
    }
    if args.bom && !matches!(format, ExportFormat::Csv | ExportFormat::CallsCsv) {
        return Err(usage("--bom requires --format csv or calls-csv"));
    }
    let form =
        ExportForm { format, kinds: args.kind.iter().map(|kind| kind.0).collect(), with_tools: args.include.is_some() };
    if !form.kinds.is_empty() && !format.has_kinds() {
        return Err(usage(format_args!("--kind cannot be combined with --format {}", format.name())));
    }
    if form.with_tools && !format.has_tools() {
        return Err(usage(format_args!("--include cannot be combined with --format {}", format.name())));
    }
    let mark = if args.bom { "\u{FEFF}" } else { "" };
    let database = &args.database.database;
    let archive = ReadOnly::open(database).with_context(|| format!("cannot read {}", database.display()))?;
    let filter = CallFilter { text: args.q.clone(), ..args.calls.filter(true) };
    // The spinner is only drawn on a terminal.
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}").context("a template")?);
    let mut gently = Background::begin();
    let mut watch = |done: ExportCounts| {
        gently.pause();
        if done.calls.is_multiple_of(64) {
            bar.set_message(format!("{} with {}", count(done.calls, "call"), count(done.turns, "turn")));
            bar.tick();
        }
    };
    let exported = if to_stdout {
        let mut out = BufWriter::new(standard_output());
        let marked = out.write_all(mark.as_bytes()).map_err(anyhow::Error::from);
        marked.and_then(|()| Ok(export::export(&archive, &filter, &form, &mut out, &mut watch)?))
    } else {
        into_file(&args.out, |out| {
            out.write_all(mark.as_bytes()).map_err(export::ExportError::from)?;
            export::export(&archive, &filter, &form, out, &mut watch)
        })
    };
    bar.finish_and_clear();
    let place = if to_stdout { String::new() } else { format!(" to {}", args.out.display()) };
    let ExportCounts { calls, turns } =
        exported.with_context(|| format!("cannot export {}{place}", database.display()))?;
    if let (0, Some(id)) = (calls, &args.calls.conversation_id) {
        bail!("no call {id} matches the filters");
    }
    if !to_stdout {
        let (calls, turns) = (count(calls, "call"), count(turns, "turn"));
        print_line(format_args!("exported {calls} with {turns} to {}", args.out.display()))?;
    }
    Ok(())
}

/// Writes a new file. It gets its name only when it is complete.
fn into_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<ExportCounts, export::ExportError>,
) -> Result<ExportCounts> {
    let partial = PartialFile::new(path)?;
    let mut out = BufWriter::new(partial.file());
    let exported = write(&mut out)?;
    out.flush()?;
    drop(out);
    partial.publish()?;
    Ok(exported)
}

fn format(args: &ExportArgs) -> Result<ExportFormat> {
    if let Some(format) = args.format {
        return Ok(format.into());
    }
    let extension = args.out.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    let by_extension = ExportFormat::ALL.into_iter().find(|format| extension.as_deref() == Some(format.extension()));
    let named = by_extension.with_context(|| {
        let names: Vec<_> = ExportFormat::ALL.into_iter().map(ExportFormat::name).collect();
        let names = names.join(", ");
        if args.out == Path::new("-") {
            format!("standard output has no extension that names a format; pass --format: {names}")
        } else {
            format!("the extension of {} is no format; pass --format: {names}", args.out.display())
        }
    });
    named.or_usage()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_accepts_every_format_by_its_name() {
        let by_flag = ExportFormatArg::value_variants().iter().map(|format| {
            let name = format.to_possible_value().unwrap().get_name().to_owned();
            (name, ExportFormat::from(*format))
        });
        let by_name = ExportFormat::ALL.map(|format| (format.name().to_owned(), format));
        assert_eq!(by_flag.collect::<Vec<_>>(), by_name);
    }
}
