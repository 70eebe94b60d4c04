//! The `search` command: searches the transcripts directly in the database file.

use super::args::call_filter::CallFilterArgs;
use super::args::database::DatabaseArgs;
use super::args::values::{speaker, time, turn_kind};
use super::output::{eprint_line, standard_output};
use crate::domain::{DriverId, SearchExpr, Speaker, Timestamp, TurnKind};
use crate::store::sqlite::search_file;
use crate::store::{Hit, HitPage, SearchOrder, SearchQuery};
use crate::sys::terminal::sanitize_for_terminal;
use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

#[derive(Debug, Args)]
pub(super) struct SearchArgs {
    /// Find turns with all these words
    ///
    /// Syntax: "words in sequence", AND, OR, NOT, brackets, and begin* for words that start with these letters.
    #[arg(value_name = "QUERY", required = true)]
    query: Vec<String>,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Find only turns of this speaker: agent or driver
    #[arg(
        long, alias = "speaker", env = "TRANSCRIBE_HOOK_SPEAKER_TYPE", value_name = "SPEAKER", value_parser = speaker,
    )]
    speaker_type: Option<Speaker>,
    /// Find only turns of this kind, such as speech; repeatable
    #[arg(long, env = "TRANSCRIBE_HOOK_KIND", value_name = "KIND", value_parser = turn_kind)]
    kind: Vec<TurnKind>,
    #[command(flatten)]
    calls: CallFilterArgs,
    /// Find only turns spoken at this time or later
    #[arg(long, env = "TRANSCRIBE_HOOK_SAID_AFTER", value_name = "TIME", value_parser = time)]
    said_after: Option<Timestamp>,
    /// Find only turns spoken before this time
    #[arg(long, env = "TRANSCRIBE_HOOK_SAID_BEFORE", value_name = "TIME", value_parser = time)]
    said_before: Option<Timestamp>,
    /// Set the order of the results
    #[arg(long, env = "TRANSCRIBE_HOOK_ORDER", value_name = "ORDER", default_value = "best")]
    order: Order,
    /// Limit the number of turns
    #[arg(
        long, env = "TRANSCRIBE_HOOK_LIMIT", value_name = "NUMBER", default_value = "20",
        value_parser = clap::value_parser!(u32).range(1..=100_000),
    )]
    limit: u32,
    /// Print the result as JSON
    #[arg(long, env = "TRANSCRIBE_HOOK_JSON")]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Order {
    /// Best matches first, among the turns that were stored last
    Best,
    /// Last stored turns first
    #[value(alias = "newest")]
    Desc,
}

/// Maximum number of turns that are read at once.
const PAGE_SIZE: usize = 1000;

pub(super) fn run(args: &SearchArgs) -> Result<()> {
    let wanted = SearchExpr::parse(&args.query.join(" ")).context("the query")?;
    let limit = args.limit as usize;
    let mut query = SearchQuery {
        wanted,
        speaker: args.speaker_type,
        kinds: args.kind.clone(),
        calls: args.calls.filter(false),
        said_after: args.said_after,
        said_before: args.said_before,
        order: match args.order {
            Order::Best => SearchOrder::Best,
            Order::Desc => SearchOrder::Newest,
        },
        after: None,
        limit: limit.min(PAGE_SIZE),
        with_total: false,
    };
    let database = &args.database.database;
    let mut hits: Vec<Hit> = Vec::new();
    let (has_more, unindexed) = loop {
        let found = search_file(database, &query).with_context(|| format!("cannot search {}", database.display()))?;
        let HitPage { hits: more, next, unsearched, .. } = found;
        hits.extend(more);
        query.after = next;
        query.limit = (limit - hits.len()).min(PAGE_SIZE);
        if next.is_none() || query.limit == 0 {
            break (next.is_some(), unsearched);
        }
    };
    let printed = if args.json {
        let data: Vec<_> = hits.iter().map(as_json).collect();
        writeln!(standard_output(), "{}", json!({ "data": data, "has_more": has_more, "unindexed": unindexed }))
    } else {
        print(&hits)
    };
    match printed {
        // The reader of the pipe, such as `head`, has closed it.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        printed => printed.context("cannot print")?,
    }
    if !args.json {
        if has_more {
            eprint_line(format_args!("there are more results; raise --limit to see them"));
        }
        if unindexed > 0 {
            eprint_line(format_args!(
                "up to {unindexed} turns are not indexed yet and were not searched; `serve` indexes them while it runs"
            ));
        }
    }
    Ok(())
}

fn print(hits: &[Hit]) -> io::Result<()> {
    let out = io::stdout();
    let color = out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (begin, end) = if color { ("\u{1b}[1;33m", "\u{1b}[0m") } else { ("", "") };
    let mut out = out.lock();
    if hits.is_empty() {
        writeln!(out, "no turn found")?;
    }
    for hit in hits {
        let turn = &hit.turn;
        let driver = match (hit.driver_id, &hit.driver_name) {
            (Some(id), Some(name)) => format!("driver {id}, {name}"),
            (Some(id), None) => format!("driver {id}"),
            (None, _) => "driver unknown".to_owned(),
        };
        let speaker = turn.speaker.as_str();
        writeln!(
            out,
            "{}  {}  turn {}  {speaker}  ({}, {})",
            turn.said_at(),
            in_one_line(&turn.conversation_id),
            turn.sequence_number,
            in_one_line(&driver),
            hit.status.as_str()
        )?;
        write!(out, "    ")?;
        for piece in &hit.snippet.0 {
            let text = in_one_line(&piece.text);
            if piece.matched { write!(out, "{begin}{text}{end}")? } else { write!(out, "{text}")? }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Returns a text on one line, sanitized for a terminal.
fn in_one_line(text: &(impl Display + ?Sized)) -> String {
    sanitize_for_terminal(&text.to_string().replace(['\n', '\t', '\r'], " "))
}

/// Converts a hit to the JSON of the API.
fn as_json(hit: &Hit) -> Value {
    let turn = &hit.turn;
    json!({
        "id": turn.id,
        "conversation_id": turn.conversation_id,
        "speaker_type": turn.speaker,
        "message_text": turn.message,
        "timestamp": turn.timestamp,
        "sequence_number": turn.sequence_number,
        "source": turn.source.as_str(),
        "created_at": turn.created_at,
        "final_text": turn.final_text,
        "interrupted": turn.interrupted,
        "position": turn.place,
        "superseded_by": turn.superseded_by,
        "record_time": turn.record_time,
        "in_record": turn.in_record,
        "kind": turn.kind,
        "metrics": turn.metrics.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok()),
        "said_by": turn.said_by(),
        "driver_id": hit.driver_id.map(DriverId::get),
        "driver_name": hit.driver_name,
        "status": hit.status,
        "call_start_time": hit.call_start_time,
        "snippet": hit.snippet.html(),
        "answered_by": hit.answered_by,
        "channel": hit.channel,
    })
}
