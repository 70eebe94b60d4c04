//! Benchmarks of the search: filling the index, its size, first pages over very many turns, and the rate of turns
//! compared with the same service without an index.

use crate::load::{self, Load, Run};
use crate::reads::{Latency, Reader};
use crate::server::Server;
use crate::stats::{Time, float};
use crate::summary::{Summary, write_comparison};
use crate::target::Target;
use crate::{fill, machine, progress};
use anyhow::{Result, ensure};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use std::collections::{BTreeSet, HashSet};
use std::fmt::{self, Display, Formatter, Write as _};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use transcribe_hook::domain::{
    Call, CallStats, Caller, ConversationId, Dispatch, Driver, DriverId, Message, NewTurn, PhoneNumber, Source,
    Speaker, StoredEvent, Timestamp, Turn,
};
use transcribe_hook::store::sqlite::SqliteStore;
use transcribe_hook::store::{
    self, CallFilter, CallPageRequest, ChangeBatch, ChangedCalls, Commands, DatabaseSizes, ExpiredCall,
    ExpiredCallQuery, Feed, FeedPosition, HitPage, Maintenance, Outcome, Reads, Scope, SearchQuery, Store, TurnQuery,
    Write,
};

/// Numbers of turns in flight, with and without indexing.
const IN_FLIGHT: [usize; 3] = [1, 64, 500];

/// Different words that are said; the n-th is about n times rarer than the first.
const WORDS: u64 = 20_000;

/// Turns of a call.
const CALL: u64 = 40;

/// Requests of a kind.
const REQUESTS: usize = 200;

#[derive(Debug, Serialize)]
pub(crate) struct Search {
    turns: u64,
    /// From the first slice to the last.
    index_seconds: f64,
    slice: Latency,
    slice_max_us: f64,
    index_bytes: u64,
    turns_bytes: u64,
    pages: Vec<Page>,
    summary: Vec<Summary>,
    runs: Vec<Run>,
}

/// First pages of one query.
#[derive(Debug, Serialize)]
struct Page {
    what: &'static str,
    best: Latency,
    newest: Latency,
}

pub(crate) fn measure(place: &Path, turns: u64, rounds: usize, measured: Duration) -> Result<Search> {
    let path = place.join("searched.db");
    progress(&format!("storing {turns} turns of many words"));
    let store = fill::open(&path)?;
    say(&store, turns)?;
    progress("indexing them");
    let (begun, mut slices) = (Instant::now(), Vec::new());
    loop {
        let slice = Instant::now();
        let left = store.catch_up()?.turns;
        slices.push(slice.elapsed());
        if left == 0 {
            break;
        }
    }
    let index_seconds = begun.elapsed().as_secs_f64();
    drop(store);
    let slice_max = slices.iter().max().copied().unwrap_or_default();
    let index = place.join("searched.db.search");
    let index_bytes = fs::metadata(&index)?.len();
    let turns_bytes = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?.query_row(
        "SELECT sum(pgsize) FROM dbstat WHERE name GLOB '*call_transcriptions*' AND aggregate = TRUE",
        [],
        |row| row.get(0),
    )?;
    let pages = pages(&path, place)?;
    fs::remove_file(&path)?;
    fs::remove_file(&index)?;
    let mut runs = Vec::new();
    for in_flight in IN_FLIGHT {
        let load = Load { in_flight, long_calls: None, pace: None };
        let mut targets = [Target::Service, Target::NoIndex];
        for round in 0..rounds {
            for target in targets {
                let run = load::run(&|| Server::start(target, place), load, round, measured)?;
                progress(&run.line());
                runs.push(run);
            }
            targets.reverse();
        }
    }
    Ok(Search {
        turns,
        index_seconds,
        slice: Latency::from_durations(slices),
        slice_max_us: slice_max.as_secs_f64() * 1e6,
        index_bytes,
        turns_bytes,
        pages,
        summary: Summary::from_runs(&runs),
        runs,
    })
}

/// First pages, of both orders in turn, so that both see the same machine.
fn pages(path: &Path, place: &Path) -> Result<Vec<Page>> {
    progress("searching them");
    machine::wait_for_quiet(Duration::from_mins(1));
    let server = Server::start_on(Target::Large, path, place)?;
    let mut reader = Reader::connect(server.address())?;
    let mut of = |what, q: String, more: &str| -> Result<Page> {
        let q = q.replace(' ', "%20").replace('"', "%22").replace('*', "%2A");
        let mut took = [Vec::new(), Vec::new()];
        for n in 0..REQUESTS + 5 {
            for (order, took) in ["best", "newest"].into_iter().zip(&mut took) {
                let page = reader.get(&format!("/api/v1/search?q={q}&order={order}{more}"))?;
                if n >= 5 {
                    took.push(page);
                }
            }
        }
        let [best, newest] = took.map(Latency::from_durations);
        Ok(Page { what, best, newest })
    };
    let (common, second, rare) = (word(0), word(1), word(WORDS - 1));
    let pages = vec![
        of("a word of three turns in four", common.clone(), "")?,
        of("a rare word", rare.clone(), "")?,
        of("two common words", format!("{common} {second}"), "")?,
        of("a phrase of common words", format!("\"{common} {second}\""), "")?,
        of("a phrase of rarer words", format!("\"{} {}\"", word(40), word(41)), "")?,
        of("a prefix of ten words", format!("{}*", &common[..3]), "")?,
        of("a prefix of two hundred words", format!("{}*", &common[..2]), "")?,
        of("a common word and not another", format!("{common} NOT {second}"), "")?,
        of("a common word OR a rare one", format!("{common} OR {rare}"), "")?,
        of("a common word in one call", common.clone(), "&conversation_id=conv_100")?,
        of("a common word in calls of the first hour", common, "&started_before=2026-09-01T01:00:00Z")?,
    ];
    server.stop(0)?;
    Ok(pages)
}

/// The n-th word, of two to three syllables, so that it begins as some others do.
fn word(n: u64) -> String {
    const CONSONANTS: &[u8; 20] = b"bcdfghjklmnpqrstvwxz";
    const VOWELS: &[u8; 5] = b"aeiou";
    let m = n * 7919 % WORDS;
    let mut word = String::new();
    for syllable in [m / 200, m / 2 % 100] {
        let index = |n: u64| usize::try_from(n).expect("small");
        word.push(char::from(CONSONANTS[index(syllable / 5)]));
        word.push(char::from(VOWELS[index(syllable % 5)]));
    }
    if m % 2 == 1 {
        word.push('n');
    }
    word
}

fn say(store: &dyn Store, turns: u64) -> Result<()> {
    const BATCH_TURNS: u64 = 4000;
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    // Each with the cumulative share of the words: the n-th is about 1/n times as frequent as the first.
    let share = |n: u64| float(n + 2).ln() / float(WORDS + 1).ln();
    let words: Vec<_> = (0..WORDS).map(|n| (word(n), share(n))).collect();
    for begin in (0..turns).step_by(usize::try_from(BATCH_TURNS)?) {
        let mut batch = Vec::new();
        for n in begin..turns.min(begin + BATCH_TURNS) {
            let mut message = String::new();
            for _ in 0..5 + next() % 31 {
                let uniform = float(next() >> 11) / float(1 << 53);
                let rank = words.partition_point(|(_, until)| *until < uniform);
                write!(message, "{} ", words[rank].0)?;
            }
            let second = n / CALL;
            let time = format!(
                "2026-09-{:02}T{:02}:{:02}:{:02}.{:03}Z",
                1 + second / 86_400,
                second / 3600 % 24,
                second / 60 % 60,
                second % 60,
                n % CALL
            );
            let rule = |invalid| anyhow::anyhow!("{invalid}");
            batch.push(Write::AppendTurn(NewTurn {
                conversation_id: ConversationId::new(&format!("conv_{}", n / CALL)).map_err(rule)?,
                speaker: if n % 2 == 0 { Speaker::Agent } else { Speaker::Driver },
                message: Message::new(&message).map_err(rule)?,
                timestamp: Timestamp::parse(&time).map_err(rule)?,
                delivery_key: None,
                source: Source::Live,
                call_sid: None,
            }));
        }
        let outcomes = store.apply(Timestamp::now(), &batch)?;
        ensure!(outcomes.iter().all(Result::is_ok), "the store refused a turn");
    }
    Ok(())
}

impl Display for Search {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let turns = float(self.turns);
        writeln!(
            f,
            "\n## Search\n\n{} turns of 20 words on average, of {WORDS} different ones. Indexing them took {:.1} s, \
             {:.1} µs a turn; a slice p50 {}, p99 {}, at most {}. The index takes {:.0} bytes a turn, beside {:.0} of \
             the turn and its other indexes.\n",
            self.turns,
            self.index_seconds,
            self.index_seconds * 1e6 / turns,
            Time(self.slice.p50_us),
            Time(self.slice.p99_us),
            Time(self.slice_max_us),
            float(self.index_bytes) / turns,
            float(self.turns_bytes) / turns,
        )?;
        writeln!(f, "| first page | best, p50 | p99 | newest, p50 | p99 |\n|---|---:|---:|---:|---:|")?;
        for Page { what, best, newest } in &self.pages {
            let [best, best_p99] = [Time(best.p50_us), Time(best.p99_us)];
            let [newest, newest_p99] = [Time(newest.p50_us), Time(newest.p99_us)];
            writeln!(f, "| {what} | {best} | {best_p99} | {newest} | {newest_p99} |")?;
        }
        writeln!(f, "\nThe service beside the same one that never fills the index:\n")?;
        write_comparison(f, &self.summary, &self.runs, Target::Service)
    }
}

/// A store that never indexes turns.
pub(crate) struct NoIndex(pub(crate) SqliteStore);

/// Delegates methods to the inner store.
macro_rules! pass_on {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)+) => {$(
        fn $name(&self, $($argument: $kind),*) -> $answer {
            self.0.$name($($argument),*)
        }
    )+};
}

impl Commands for NoIndex {
    pass_on! {
        apply(now: Timestamp, batch: &[Write]) -> store::Result<Vec<Outcome>>;
        continue_erasing(now: Timestamp, which: store::Unfinished<'_>) -> store::Result<Option<store::ErasedSlice>>;
    }
}

impl Reads for NoIndex {
    pass_on! {
        is_erased(id: &ConversationId) -> store::Result<bool>;
        old_calls(query: &ExpiredCallQuery) -> store::Result<Vec<ExpiredCall>>;
        old_events(before: Timestamp, after: i64, limit: usize) -> store::Result<store::ScanPage<store::ExpiredEvent>>;
        events_naming(calls: &HashSet<ConversationId>,
            after: i64) -> store::Result<store::ScanPage<store::NamingEvent>>;
        newest_arrival() -> store::Result<Option<Timestamp>>;
        old_dispatches(before: Timestamp, after: Option<&ConversationId>,
            limit: usize) -> store::Result<Vec<ConversationId>>;
        dispatches_of(id: DriverId, number: Option<&PhoneNumber>, limit: usize) -> store::Result<Vec<ConversationId>>;
        figures(filter: &CallFilter, each: &mut dyn FnMut(&CallStats<'_>)) -> store::Result<()>;
        call(id: &ConversationId) -> store::Result<Option<Call>>;
        calls(request: &CallPageRequest) -> store::Result<store::CallPage>;
        ranked_calls(request: &store::RankedCallRequest) -> store::Result<store::Page<store::RankedCall>>;
        turns(query: &TurnQuery) -> store::Result<Option<store::Page<Turn>>>;
        search(query: &SearchQuery) -> store::Result<HitPage>;
        driver(id: DriverId) -> store::Result<Option<Driver>>;
        caller(number: &PhoneNumber) -> store::Result<Option<Caller>>;
        drivers(request: &store::DriverPageRequest) -> store::Result<store::Page<Driver>>;
        event(id: i64) -> store::Result<Option<StoredEvent>>;
        event_ids(selection: store::EventSelection, after: i64, limit: usize) -> store::Result<Vec<i64>>;
        unread_events() -> store::Result<store::UnreadEvents>;
        dispatch(id: &ConversationId) -> store::Result<Option<Dispatch>>;
        dispatches(request: &store::DispatchPageRequest) -> store::Result<store::Page<Dispatch>>;
        open_calls(limit: u32) -> store::Result<u64>;
        drivers_by_ids(ids: &BTreeSet<DriverId>) -> store::Result<Vec<Driver>>;
    }
}

impl Feed for NoIndex {
    pass_on! {
        head() -> store::Result<FeedPosition>;
        since(scope: &Scope, after: FeedPosition, upto: FeedPosition) -> store::Result<ChangeBatch>;
        touched(after: FeedPosition, upto: FeedPosition) -> store::Result<ChangedCalls>;
    }
}

impl Maintenance for NoIndex {
    fn catch_up(&self) -> store::Result<store::Backlog> {
        Ok(store::Backlog::default())
    }

    pass_on! {
        rest() -> store::Result<bool>;
        purge(wait: Duration) -> store::Result<store::Forgotten>;
        sizes() -> std::io::Result<DatabaseSizes>;
    }
}
