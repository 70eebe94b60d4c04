//! Benchmarks of what the service tells others beside ingest: outgoing webhooks, alerts, and the webhook that
//! ElevenLabs asks before an inbound call.

use crate::load::{self, Load, Pace, Run};
use crate::reads::{Latency, Reader};
use crate::server::Server;
use crate::stats::percentile;
use crate::summary::Summary;
use crate::target::Target;
use crate::{machine, progress};
use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// As many turns as the service takes.
pub(crate) const FULL: Load = Load { in_flight: 64, long_calls: None, pace: None };

/// A thousand calls a second, short ones, because the machine would not take long ones.
pub(crate) const THOUSAND_CALLS: Load =
    Load { in_flight: 64, long_calls: None, pace: Some(Pace { calls_per_second: 1000, turns_per_call: 8 }) };

/// Number of configured alerts. One matches each call, the others match none.
pub(crate) const ALERTS: usize = 1000;

/// Time until the slow receiver answers.
const SLOW_ANSWER: Duration = Duration::from_secs(2);

/// Time from one inbound call to the next.
const BETWEEN_INITIATIONS: Duration = Duration::from_millis(10);

/// Measurements with outgoing webhooks, alerts and inbound calls, and without.
#[derive(Debug, Serialize)]
pub(crate) struct Outreach {
    /// Notices that the receiver that answers at once received, in all rounds.
    pub(crate) notices: u64,
    /// Notices a second to that receiver.
    pub(crate) notices_per_second: f64,
    /// From the commit of a change until that receiver had its notice.
    pub(crate) lag: Lag,
    /// Calls that matched an alert, each once an alert, in all rounds.
    pub(crate) alerts_matched: u64,
    /// Measurements of the webhook for inbound calls, beside ingest.
    pub(crate) initiation: Latency,
    pub(crate) initiations: u64,
    pub(crate) summary: Vec<Summary>,
    pub(crate) runs: Vec<Run>,
}

/// Delays of notices.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Lag {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
}

/// Measures each round with nothing beside ingest and with each of the others, in alternating order.
pub(crate) fn measure(place: &Path, rounds: usize, measured: Duration) -> Result<Outreach> {
    let mut pairs = [
        (Target::Service, FULL),
        (Target::WithAlerts, FULL),
        (Target::BesideInitiations, FULL),
        (Target::Service, THOUSAND_CALLS),
        (Target::BesideReceivers, THOUSAND_CALLS),
    ];
    let (mut delays, mut asked, mut runs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut receiving, mut alerts_matched) = (0.0, 0);
    let alerts = place.join("alerts");
    std::fs::write(&alerts, alert_lines())?;
    for round in 0..rounds {
        for (target, load) in pairs {
            machine::wait_for_quiet(Duration::from_secs(20));
            let run = match target {
                Target::BesideReceivers => {
                    let begun = Instant::now();
                    let (run, received) = beside_receivers(place, load, round, measured)?;
                    receiving += begun.elapsed().as_secs_f64();
                    delays.extend(received);
                    run
                }
                Target::WithAlerts => {
                    let server = Server::start_with(target, place, &[OsStr::new("--alerts"), alerts.as_os_str()])?;
                    let address = server.address();
                    load::run_beside(server, load, round, measured, || {
                        alerts_matched += matched_alerts(address).unwrap_or(0);
                    })?
                }
                Target::BesideInitiations => {
                    let (run, took) = beside_initiations(place, load, round, measured)?;
                    asked.extend(took);
                    run
                }
                _ => load::run_once(Server::start(target, place)?, load, round, measured)?,
            };
            progress(&run.line());
            runs.push(run);
        }
        pairs.reverse();
    }
    ensure!(alerts_matched > 0, "no alert matched");
    delays.sort_unstable();
    let notices = u64::try_from(delays.len())?;
    Ok(Outreach {
        notices,
        notices_per_second: crate::stats::float(notices) / receiving.max(f64::EPSILON),
        lag: Lag {
            p50_us: percentile(&delays, 0.5),
            p99_us: percentile(&delays, 0.99),
            max_us: percentile(&delays, 1.0),
        },
        alerts_matched,
        initiations: u64::try_from(asked.len())?,
        initiation: Latency::from_durations(asked),
        summary: Summary::from_runs(&runs),
        runs,
    })
}

fn alert_lines() -> String {
    let query = |n: usize| match n % 100 {
        _ if n == 0 => "detention AND broker*".to_owned(),
        ..50 => format!("unheard{n}"),
        50..75 => format!("\"door unheard{n}\""),
        _ => format!("joliet AND unheard{n}"),
    };
    (0..ALERTS).map(|n| format!("alert{n}={}", query(n))).collect::<Vec<_>>().join("\n")
}

/// Returns the service's own count.
fn matched_alerts(address: SocketAddr) -> Result<u64> {
    const METRIC: &str = "transcribe_hook_alerts_matched_total ";
    let mut connection = TcpStream::connect(address)?;
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let value = answer.lines().find_map(|line| line.strip_prefix(METRIC)).context("the metric exists")?;
    Ok(value.trim().parse()?)
}

/// Three receivers: one answers at once, one slowly, and one is not there. Returns the delays of the first.
fn beside_receivers(place: &Path, load: Load, round: usize, measured: Duration) -> Result<(Run, Vec<Duration>)> {
    let (good, slow) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let dead = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let urls = [good.local_addr()?, slow.local_addr()?, dead].map(|address| format!("http://{address}/"));
    let secret = place.join("webhook-secret");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")?;
    let mut arguments = vec![OsStr::new("--webhook-secret-file"), secret.as_os_str()];
    for url in &urls {
        arguments.extend(["--webhook-url", url].map(OsStr::new));
    }
    let server = Server::start_with(Target::BesideReceivers, place, &arguments)?;
    let stop = Arc::new(AtomicBool::new(false));
    let receivers = [(good, Duration::ZERO), (slow, SLOW_ANSWER)].map(|(listener, pause)| {
        let stop = stop.clone();
        std::thread::spawn(move || receive(&listener, pause, &stop))
    });
    let run = load::run_beside(server, load, round, measured, || ());
    stop.store(true, Ordering::Relaxed);
    let mut received = Vec::new();
    for (n, receiver) in receivers.into_iter().enumerate() {
        let delays = receiver.join().expect("no panic in it")?;
        ensure!(!delays.is_empty(), "receiver {n} received nothing");
        if n == 0 {
            received = delays;
        }
    }
    Ok((run?, received))
}

/// Answers notices, one connection at a time, and returns their delays.
fn receive(listener: &TcpListener, pause: Duration, stop: &AtomicBool) -> Result<Vec<Duration>> {
    let mut delays = Vec::new();
    listener.set_nonblocking(true)?;
    while !stop.load(Ordering::Relaxed) {
        let Ok((connection, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        connection.set_nonblocking(false)?;
        connection.set_nodelay(true)?;
        // The service closes it when it stops.
        connection.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut answers = connection.try_clone()?;
        let mut requests = BufReader::new(connection);
        while let Ok(Some(sent)) = read_notice(&mut requests) {
            delays.push(sent);
            std::thread::sleep(pause);
            if answers.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
                break;
            }
        }
    }
    Ok(delays)
}

/// Reads a notice, and returns the time since its change was committed.
fn read_notice(requests: &mut BufReader<TcpStream>) -> Result<Option<Duration>> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if requests.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
        }
    }
    let mut body = vec![0; length];
    requests.read_exact(&mut body)?;
    let notice: serde_json::Value = serde_json::from_slice(&body)?;
    let at = notice["timestamp"].as_str().context("a notice has a time")?;
    let delay = OffsetDateTime::now_utc() - OffsetDateTime::parse(at, &Rfc3339)?;
    Ok(Some(delay.try_into().unwrap_or_default()))
}

/// Asks for the data of an inbound call again and again, at a steady rate.
fn beside_initiations(place: &Path, load: Load, round: usize, measured: Duration) -> Result<(Run, Vec<Duration>)> {
    let variables = place.join("variables.json");
    std::fs::write(
        &variables,
        r#"{"driver_name":"{driver.name}","last_call":"{last_call.summary}","depot":"Joliet"}"#,
    )?;
    let arguments = [OsStr::new("--initiation-variables"), variables.as_os_str()];
    let server = Server::start_with(Target::BesideInitiations, place, &arguments)?;
    let address = server.address();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| -> Result<Vec<Duration>> {
            let mut reader = Reader::connect(address)?;
            let (mut took, mut next) = (Vec::new(), Instant::now());
            while !stop.load(Ordering::Relaxed) {
                let n = took.len();
                let body = format!(
                    r#"{{"caller_id":"+1555{:07}","agent_id":"agent_day","called_number":"+15550001111","call_sid":"CA{n:032x}"}}"#,
                    n % 5000
                );
                took.push(reader.post("/webhooks/elevenlabs/initiation", &body)?);
                next += BETWEEN_INITIATIONS;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            Ok(took)
        });
        let run = load::run_beside(server, load, round, measured, || stop.store(true, Ordering::Relaxed));
        stop.store(true, Ordering::Relaxed);
        let took = asking.join().expect("no panic in it")?;
        Ok((run?, took))
    })
}
