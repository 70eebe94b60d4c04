//! A long run under everything at once: calls that are held, repeated and reported, readers, bursts, and the
//! housekeeping beside them. Nothing may fail, nothing may be lost, doubled or out of order, and memory must stay as it
//! is.
//!
//! It takes some seconds, so that every change passes it. `SOAK_MINUTES=30` makes it a real one; see `tests/README.md`.

mod background_load;
mod caller;
mod exports;
mod ledger;
mod memory;
mod watcher;
mod workload;

use crate::support::metrics::Scrape;
use crate::support::service::{Answer, Service, binary, wait_for};
use ledger::Ledger;
use memory::Memory;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SECRET: &str = "wsec_0123456789abcdef0123456789abcdef";

/// Callers who hold calls, one after the other.
const CALLERS: usize = 8;

/// Writes that may wait. More than there are callers, so that only a burst fills the queue.
const QUEUE: &str = "64";

/// Clients of a burst: more than the queue has room for.
const BURST: usize = 160;

/// Maximum additional memory of a run's last third over the one before it, in KiB. The service's caches are bounded,
/// but a short run does not fill them.
const GROWTH: u64 = 8 * 1024;

/// The most memory that any run may take, in KiB.
const MEMORY: u64 = 200 * 1024;

/// Maximum size of the WAL, in bytes: the size that starts a checkpoint, and as much again while a backup is read.
const LOG: u64 = 64 << 20;

/// State that all threads of a run share.
struct Run {
    service: Service,
    folder: TempDir,
    started: Instant,
    length: Duration,
    /// Set when one of them has failed, so that the others need not run to the end.
    failed: AtomicBool,
    /// Number of running bursts. Only during one may a request be answered 503.
    bursting: AtomicUsize,
    bursts: AtomicUsize,
    /// Number of connections of the live viewer.
    viewings: AtomicU64,
    /// Once all callers are done, the number of the last turn.
    last_turn: OnceLock<i64>,
    ledger: Mutex<Ledger>,
    tally: Tally,
}

/// Counts of a run, for its report.
#[derive(Default)]
struct Tally {
    turns: AtomicU64,
    repeats: AtomicU64,
    events: AtomicU64,
    histories: AtomicU64,
    reads: AtomicU64,
    refused: AtomicU64,
    backups: AtomicU64,
    exports: AtomicU64,
    prunes: AtomicU64,
    /// Time from a turn's request to its answer, in microseconds, by the power of two that is not exceeded.
    times: [AtomicU64; 32],
}

impl Tally {
    fn took(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        self.times[usize::try_from(micros.ilog2()).unwrap().min(31)].fetch_add(1, SeqCst);
    }

    /// A time that this share of turns did not exceed, up to a factor of two.
    fn quantile(&self, share: f64) -> Duration {
        let counts: Vec<_> = self.times.iter().map(|count| count.load(SeqCst)).collect();
        #[expect(clippy::cast_precision_loss, reason = "counts of a run")]
        let wanted = counts.iter().sum::<u64>() as f64 * share;
        let mut sum = 0.0;
        for (power, count) in counts.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "counts of a run")]
            {
                sum += *count as f64;
            }
            if sum >= wanted {
                return Duration::from_micros(1 << (power + 1));
            }
        }
        Duration::MAX
    }
}

impl Run {
    /// The number of the last turn that is stored.
    fn newest_turn(&self) -> i64 {
        self.service.sqlite().query_row("SELECT max(id) FROM call_transcriptions", [], |row| row.get(0)).unwrap()
    }

    /// Returns true if there is time for more.
    fn goes_on(&self) -> bool {
        self.started.elapsed() < self.length && !self.failed.load(SeqCst)
    }

    /// Waits, but not beyond the run's end.
    fn pause(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end && self.goes_on() {
            std::thread::sleep((end - Instant::now()).min(Duration::from_millis(50)));
        }
    }

    /// Does a request until it is not refused, which it may be only in a burst and with the word when to come again.
    #[track_caller]
    fn ask(&self, request: impl Fn() -> Answer) -> Answer {
        loop {
            let before = (self.bursting.load(SeqCst), self.bursts.load(SeqCst));
            let answer = request();
            if answer.status != 503 {
                return answer;
            }
            let in_burst = before.0 > 0 || self.bursting.load(SeqCst) > 0 || self.bursts.load(SeqCst) != before.1;
            assert!(in_burst, "refused although nobody asked for it: {}", answer.text);
            let seconds: u64 = answer.header("retry-after").expect("says when to come again").parse().unwrap();
            assert_eq!(seconds, 1);
            self.tally.refused.fetch_add(1, SeqCst);
            std::thread::sleep(Duration::from_secs(seconds));
        }
    }
}

/// Notes a thread's failure as soon as it happens.
struct Watch<'a>(&'a Run);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, SeqCst);
        }
    }
}

fn length() -> Duration {
    match std::env::var("SOAK_MINUTES") {
        Ok(minutes) => Duration::from_secs_f64(minutes.parse::<f64>().expect("SOAK_MINUTES is a number") * 60.0),
        Err(_) => Duration::from_secs(12),
    }
}

#[test]
fn under_everything_at_once_nothing_fails_is_lost_or_grows() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let length = length();
    let mut ledger = Ledger::default();
    background_load::hold_old_calls(&database, &mut ledger);
    let mut command = binary();
    command.args(["--log-level", "info,http=warn"]);
    let own = folder.path().join("own-backups");
    let every = format!("{}s", (length.as_secs() / 20).clamp(3, 300));
    let flags = [
        ["--elevenlabs-secret", SECRET],
        ["--queue-capacity", QUEUE],
        ["--stream-heartbeat", "1s"],
        ["--backup-every", &every],
        ["--backup-dir", own.to_str().unwrap()],
        ["--backup-keep", "2"],
        ["--snapshot-every", &every],
    ]
    .concat();
    let service = Service::start_command(command, &database, &flags);
    workload::put_drivers(&service);
    let run = Run {
        service,
        folder,
        started: Instant::now(),
        length,
        failed: AtomicBool::new(false),
        bursting: AtomicUsize::new(0),
        bursts: AtomicUsize::new(0),
        viewings: AtomicU64::new(0),
        last_turn: OnceLock::new(),
        ledger: Mutex::new(ledger),
        tally: Tally::default(),
    };
    let (memory, viewed) = std::thread::scope(|scope| {
        let viewer = scope.spawn(|| {
            let _watch = Watch(&run);
            watcher::watch(&run)
        });
        let viewers = || Scrape::take(&run.service).whole("sse_subscribers");
        wait_for("the viewer to be there before the first turn", || (viewers() == 1).then_some(()));
        let watched = |work: fn(&Run, usize), n: usize| {
            let run = &run;
            scope.spawn(move || {
                let _watch = Watch(run);
                work(run, n);
            })
        };
        let mut others: Vec<_> = (0..CALLERS).map(|n| watched(caller::hold_calls, n)).collect();
        others.extend((0..2).map(|n| watched(background_load::read, n)));
        others.push(watched(background_load::burst, 0));
        others.push(watched(background_load::prune, 0));
        others.push(watched(background_load::back_up, 0));
        others.push(watched(exports::export, 0));
        let memory = Memory::watch(&run);
        for other in others {
            other.join().unwrap();
        }
        run.last_turn.set(run.newest_turn()).unwrap();
        (memory, viewer.join().unwrap())
    });
    // A viewer that has gone is noticed by the next sign of life that it is sent.
    let scrape = wait_for("the viewer to be gone", || {
        Some(Scrape::take(&run.service)).filter(|scrape| scrape.whole("sse_subscribers") == 0)
    });
    report(&run, &scrape, &memory);
    // It goes last, so that on a busy machine the first may not be whole yet.
    wait_for("the service to back itself up", || {
        let last = Scrape::take(&run.service).get::<f64>("backup_last_success_timestamp_seconds");
        (last > 0.0).then_some(())
    });
    let Run { service, ledger, tally, folder: _folder, .. } = run;
    let ledger = ledger.into_inner().unwrap();
    counted(&scrape, &tally, &ledger);
    assert_eq!(viewed, ledger.turns(), "the live viewer saw each turn once");
    assert_eq!(scrape.whole("backup_failures_total"), 0);
    service.stop();
    ledger.compare(&database);
    assert!(memory.largest_log < LOG, "the log grew to {} bytes", memory.largest_log);
    assert!(memory.largest < MEMORY, "memory grew to {} KiB", memory.largest);
    let [_, middle, last] = memory.thirds();
    assert!(last < middle + GROWTH, "memory grew from {middle} to {last} KiB");
}

/// The service has counted what its clients have.
fn counted(scrape: &Scrape, tally: &Tally, ledger: &Ledger) {
    let webhook = |endpoint, outcome| scrape.webhook(endpoint, outcome);
    assert_eq!(webhook("transcription", "stored"), tally.turns.load(SeqCst));
    assert_eq!(webhook("transcription", "duplicate"), tally.repeats.load(SeqCst));
    assert_eq!(webhook("history", "stored"), tally.histories.load(SeqCst));
    assert_eq!(webhook("post-call", "stored") + webhook("post-call", "duplicate"), tally.events.load(SeqCst));
    for endpoint in ["transcription", "history", "post-call"] {
        for outcome in ["rejected", "unauthorized", "quarantined", "dropped", "failed", "abandoned"] {
            assert_eq!(webhook(endpoint, outcome), 0, "{endpoint} {outcome}");
        }
    }
    let stored = ["agent", "driver"].map(|who| scrape.whole(&format!("turns_stored_total{{speaker=\"{who}\"}}")));
    assert_eq!(stored.iter().sum::<u64>(), ledger.turns());
    assert_eq!(scrape.whole("write_queue_depth"), 0);
    assert_eq!(scrape.whole("checkpoint_failures_total"), 0);
}

fn report(run: &Run, scrape: &Scrape, memory: &Memory) {
    let Tally { turns, repeats, events, histories, reads, refused, backups, exports, .. } = &run.tally;
    let [first, middle, last] = memory.thirds();
    println!(
        "in {:?}: {} turns and {} repeats (half within {:?}, 99 of 100 within {:?}), {} events, {} histories, {} \
         reads, {} bursts with {} refusals, {} backups, {} exports, {} prunes, {} viewings; {} commits; memory \
         {first}, {middle}, {last} KiB in each third, at most {} KiB; the log at most {} bytes",
        run.started.elapsed(),
        turns.load(SeqCst),
        repeats.load(SeqCst),
        run.tally.quantile(0.5),
        run.tally.quantile(0.99),
        events.load(SeqCst),
        histories.load(SeqCst),
        reads.load(SeqCst),
        run.bursts.load(SeqCst),
        refused.load(SeqCst),
        backups.load(SeqCst),
        exports.load(SeqCst),
        run.tally.prunes.load(SeqCst),
        run.viewings.load(SeqCst),
        scrape.whole("commit_duration_seconds_count"),
        memory.largest,
        memory.largest_log,
    );
}
