//! Load on a server, and its measurements.

use crate::client::{Answer, Client};
use crate::machine::{self, Clock, CpuShare};
use crate::server::Server;
use crate::stats::{float, percentile};
use crate::target::Target;
use crate::workload::{self, Script, TURNS_PER_CALL};
use anyhow::{Result, ensure};
use serde::Serialize;
use std::path::Path;
use std::time::{Duration, Instant};

/// Maximum duration of responses after the last request was sent.
const DRAIN: Duration = Duration::from_secs(30);

/// The arrival pattern of turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Load {
    /// Number of connections. Each sends one turn and waits for the answer.
    pub(crate) in_flight: usize,
    /// All turns go to this many conversations that never end; without it, each connection plays its own calls.
    pub(crate) long_calls: Option<usize>,
    /// Without it, the next turn is sent as soon as the one before is answered.
    pub(crate) pace: Option<Pace>,
}

/// A steady rate of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Pace {
    pub(crate) calls_per_second: u32,
    pub(crate) turns_per_call: u32,
}

impl Load {
    pub(crate) fn name(self) -> String {
        if let Some(Pace { calls_per_second, turns_per_call }) = self.pace {
            return format!("{calls_per_second} calls/s of {turns_per_call} turns");
        }
        match self.long_calls {
            Some(calls) => format!("{}, into {calls} long calls", self.in_flight),
            None => self.in_flight.to_string(),
        }
    }

    fn script(self, server: &Server) -> Script {
        let (path, seed) = (server.path, server.seed());
        let turns = self.pace.map_or(TURNS_PER_CALL, |pace| pace.turns_per_call);
        let (calls, turns) = self.long_calls.map_or((self.in_flight, Some(turns)), |calls| (calls, None));
        Script::new(path, calls, turns, seed)
    }
}

/// One target under one load for some seconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    pub(crate) target: Target,
    pub(crate) load: Load,
    pub(crate) round: usize,
    pub(crate) turns: u64,
    pub(crate) turns_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
    /// Answers other than 2xx, and connections that broke, over the whole run.
    pub(crate) failed: u64,
    pub(crate) cpu: CpuShare,
    pub(crate) peak_memory_kib: u64,
}

impl Run {
    /// For who waits.
    pub(crate) fn line(&self) -> String {
        let Self { target, load, round, turns_per_second, failed, .. } = self;
        let failed = if *failed > 0 { format!(", {failed} failed") } else { String::new() };
        format!(
            "round {}, {} in flight, {}: {turns_per_second:.0} turns/s{failed}",
            round + 1,
            load.name(),
            target.name()
        )
    }
}

/// Measures the server that `start` starts under load. If other processes used the cores meanwhile, it repeats the run
/// a few times and returns the least disturbed one.
pub(crate) fn run(start: &dyn Fn() -> Result<Server>, load: Load, round: usize, measured: Duration) -> Result<Run> {
    const TRIES: usize = 3;
    const TOO_MUCH: f64 = 0.3;
    let mut best: Option<Run> = None;
    for _ in 0..TRIES {
        machine::wait_for_quiet(Duration::from_secs(20));
        let run = run_once(start()?, load, round, measured)?;
        if best.as_ref().is_none_or(|best| run.cpu.others < best.cpu.others) {
            best = Some(run);
        }
        if best.as_ref().is_some_and(|best| best.cpu.others < TOO_MUCH) {
            break;
        }
    }
    Ok(best.expect("ran at least once"))
}

/// Measures a server under load, whatever else the cores do, and stops it.
pub(crate) fn run_once(server: Server, load: Load, round: usize, measured: Duration) -> Result<Run> {
    run_beside(server, load, round, measured, || ())
}

/// Measures a server under load, and calls `over` after the load and before it stops the server.
pub(crate) fn run_beside(
    server: Server,
    load: Load,
    round: usize,
    measured: Duration,
    over: impl FnOnce(),
) -> Result<Run> {
    let target = server.target;
    let mut client = Client::connect(server.address(), load.in_flight, load.script(&server))?;
    let mut tally = Tally::default();
    let warm_up = (measured / 4).clamp(Duration::from_millis(500), Duration::from_secs(2));

    client.start()?;
    let mut throttle = load.pace.map(Throttle::new);
    go_on_until(&mut client, Instant::now() + warm_up, &mut throttle, |answer| tally.count(answer))?;
    let clock = Clock::read(server.pid());
    let start = Instant::now();
    let mut latencies = Vec::with_capacity(1 << 18);
    go_on_until(&mut client, start + measured, &mut throttle, |answer| {
        tally.count(answer);
        if answer.is_stored() {
            latencies.push(answer.took);
        }
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = Clock::read(server.pid()).since(&clock);
    drain(&mut client, |answer| tally.count(answer))?;
    let (_, peak_memory_kib) = server.memory();
    over();
    server.stop(tally.stored)?;

    latencies.sort_unstable();
    let turns = u64::try_from(latencies.len())?;
    Ok(Run {
        target,
        load,
        round,
        turns,
        turns_per_second: float(turns) / seconds,
        p50_us: percentile(&latencies, 0.5),
        p99_us: percentile(&latencies, 0.99),
        max_us: percentile(&latencies, 1.0),
        failed: tally.failed,
        cpu,
        peak_memory_kib,
    })
}

/// One call that grows very long.
#[derive(Debug, Serialize)]
pub(crate) struct OneCall {
    pub(crate) in_flight: usize,
    pub(crate) turns: usize,
    pub(crate) tenths: Vec<Tenth>,
    pub(crate) failed: u64,
}

/// A tenth of a long call's turns.
#[derive(Debug, Serialize)]
pub(crate) struct Tenth {
    pub(crate) turns_per_second: f64,
    /// The server's.
    pub(crate) cpu_us_per_turn: f64,
    pub(crate) cpu_others: f64,
}

/// Appends very many turns to one conversation, to see whether a turn's cost grows with its call.
pub(crate) fn one_call(place: &Path, turns: usize) -> Result<OneCall> {
    const IN_FLIGHT: usize = 16;
    machine::wait_for_quiet(Duration::from_mins(1));
    let server = Server::start(Target::Service, place)?;
    let mut tally = Tally::default();

    // The process warms up on other calls.
    let mut others = Client::connect(
        server.address(),
        IN_FLIGHT,
        Script::new(workload::TURN_WEBHOOK_PATH, IN_FLIGHT, Some(TURNS_PER_CALL), 0),
    )?;
    others.start()?;
    go_on_until(&mut others, Instant::now() + Duration::from_secs(1), &mut None, |answer| tally.count(answer))?;
    drain(&mut others, |answer| tally.count(answer))?;

    let mut client =
        Client::connect(server.address(), IN_FLIGHT, Script::new(workload::TURN_WEBHOOK_PATH, 1, None, 1))?;
    let mut marks = vec![(Instant::now(), Clock::read(server.pid()))];
    let mut answers = 0;
    client.start()?;
    while answers < turns {
        client.receive(Duration::from_millis(100), |answer| {
            tally.count(answer);
            answers += 1;
            if answers % (turns / 10) == 0 {
                marks.push((answer.at, Clock::read(server.pid())));
            }
            true
        })?;
    }
    drain(&mut client, |answer| tally.count(answer))?;
    server.stop(tally.stored)?;
    let tenth = float(u64::try_from(turns / 10)?);
    let mut tenths = Vec::new();
    for pair in marks.windows(2).take(10) {
        let ((begin, clock_then), (end, clock)) = (&pair[0], &pair[1]);
        let (seconds, cpu) = ((*end - *begin).as_secs_f64(), clock.since(clock_then));
        tenths.push(Tenth {
            turns_per_second: tenth / seconds,
            cpu_us_per_turn: cpu.server * seconds * 1e6 / tenth,
            cpu_others: cpu.others,
        });
    }
    Ok(OneCall { in_flight: IN_FLIGHT, turns, tenths, failed: tally.failed })
}

#[derive(Default)]
struct Tally {
    stored: u64,
    failed: u64,
}

impl Tally {
    fn count(&mut self, answer: &Answer) {
        if answer.is_stored() { self.stored += 1 } else { self.failed += 1 }
    }
}

/// Holds back turns that are ahead of the pace.
struct Throttle {
    start: Instant,
    turns_per_second: f64,
    sent: u64,
}

impl Throttle {
    fn new(pace: Pace) -> Self {
        let turns_per_second = f64::from(pace.calls_per_second) * f64::from(pace.turns_per_call);
        Self { start: Instant::now(), turns_per_second, sent: 0 }
    }

    fn wait(&mut self) {
        self.sent += 1;
        let due = Duration::from_secs_f64(float(self.sent) / self.turns_per_second);
        let early = due.saturating_sub(self.start.elapsed());
        // A sleep is longer than the time between two turns.
        if early > Duration::from_millis(1) {
            std::thread::sleep(early);
        }
    }
}

fn go_on_until(
    client: &mut Client,
    end: Instant,
    throttle: &mut Option<Throttle>,
    mut on_answer: impl FnMut(&Answer),
) -> Result<()> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        client.receive(left, |answer| {
            on_answer(answer);
            if let Some(throttle) = throttle {
                throttle.wait();
            }
            true
        })?;
    }
}

/// Receives the outstanding responses.
fn drain(client: &mut Client, mut on_answer: impl FnMut(&Answer)) -> Result<()> {
    let end = Instant::now() + DRAIN;
    while client.waiting() > 0 {
        ensure!(Instant::now() < end, "{} requests were never answered", client.waiting());
        client.receive(Duration::from_millis(100), |answer| {
            on_answer(answer);
            false
        })?;
    }
    Ok(())
}
