//! Fifty strangers that each hold a body open at the least rate that the time-outs allow, beside ElevenLabs and clients
//! with a token.

use crate::support::service::{Service, TURNS, peak, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{POST_CALL, SECRET};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use transcribe_hook::domain::Timestamp;
use transcribe_hook::elevenlabs::signature::sign;
use transcribe_hook::secret::Secret;

const STRANGERS: usize = 50;

/// Number of small pieces that each stranger sends before the others connect.
const ROUNDS: usize = 24;

const TOKEN: &str = "api_0123456789abcdef0123456789abcdef";

/// Maximum duration of an honest request. A busy machine is slow; without the tested limits, the request takes a minute
/// or is refused.
const MAX_HONEST_TIME: Duration = Duration::from_secs(30);

/// Maximum memory of the process, in KiB.
const MAX_MEMORY_KIB: u64 = 160 * 1024;

/// A request that strangers hold open.
#[derive(Clone, Copy)]
struct Held {
    path: &'static str,
    /// Length that the head announces.
    announced: usize,
    /// The first bytes of the body.
    beginning: &'static str,
    /// Size of the first piece, before the minimum rate, in bytes.
    burst: usize,
}

const EVENTS: Held =
    Held { path: POST_CALL, announced: 15 << 20, beginning: "{\"type\":\"x\",\"data\":\"", burst: 3 << 19 };
const RECORDINGS: Held = Held {
    path: POST_CALL,
    announced: 60 << 20,
    beginning: "{\"type\":\"post_call_audio\",\"data\":{\"conversation_id\":\"conv_x\",\"full_audio\":\"",
    burst: 80 << 10,
};
const TURN_BODIES: Held = Held { path: TURNS, announced: 500_000, beginning: "{\"message\":\"", burst: 400_000 };
const SIGN_INS: Held = Held { path: "/session", announced: 500_000, beginning: "{\"token\":\"", burst: 400_000 };
const API_BODIES: Held =
    Held { path: "/api/v1/dispatches", announced: 500_000, beginning: "{\"dispatches\":[\"", burst: 400_000 };

/// A connection from an address of this machine.
fn connected(from: Ipv4Addr, to: SocketAddr) -> Option<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).ok()?;
    bind(&socket, &SocketAddr::new(IpAddr::V4(from), 0)).ok()?;
    connect(&socket, &to).ok()?;
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

/// Has strangers hold bodies open while `honest` runs. One that loses its connection comes again.
fn beside_strangers(service: &Service, held: Held, from_many: bool, honest: impl FnOnce()) {
    let (end, begun, rounds) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let address = service.address();
    let come = |n: usize, burst: usize| {
        let from = if from_many { Ipv4Addr::new(127, 0, 0, u8::try_from(n + 2).unwrap()) } else { Ipv4Addr::LOCALHOST };
        let mut stream = connected(from, address)?;
        let now = Timestamp::now().unix_micros() / 1_000_000;
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             ElevenLabs-Signature: t={now},v0={}\r\n\r\n{}",
            held.path,
            held.announced,
            "0".repeat(64),
            held.beginning
        );
        stream.write_all(request.as_bytes()).ok()?;
        let (mut left, started) = (burst, Instant::now());
        while left > 0 && started.elapsed() < Duration::from_secs(2) {
            match stream.write(&vec![b'A'; left.min(64 << 10)]) {
                Ok(count) => left -= count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(_) => return None,
            }
        }
        begun.fetch_add(1, Ordering::Relaxed);
        Some(stream)
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut streams: Vec<_> = (0..STRANGERS).map(|n| come(n, held.burst)).collect();
            while !end.load(Ordering::Relaxed) {
                for (n, stream) in streams.iter_mut().enumerate() {
                    let piece = [b'A'; 18 * 256];
                    let goes_on = stream.as_mut().is_some_and(|stream| match stream.write(&piece) {
                        Ok(_) => true,
                        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
                    });
                    if !goes_on {
                        *stream = come(n, 0);
                    }
                }
                rounds.fetch_add(1, Ordering::Relaxed);
                std::thread::park_timeout(Duration::from_millis(250));
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for("the strangers to have come, and to send at the least rate only", || {
                let (begun, rounds) = (begun.load(Ordering::Relaxed), rounds.load(Ordering::Relaxed));
                (begun >= STRANGERS && rounds >= ROUNDS).then_some(())
            });
            honest();
        }));
        end.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn signature(body: &[u8]) -> String {
    let now = Timestamp::now().unix_micros() / 1_000_000;
    sign(&Secret::new(SECRET).unwrap(), now, body)
}

#[track_caller]
fn within_reason(service: &Service, path: &str, headers: &[(&str, &str)], body: &[u8], status: u16) -> Duration {
    let started = Instant::now();
    let headers = [&[("content-type", "application/json")], headers].concat();
    service.post_raw(path, &headers, body).expect(status);
    let took = started.elapsed();
    assert!(took < MAX_HONEST_TIME, "{path} took {took:?} for {} bytes", body.len());
    took
}

/// An event of this length, few of whose words are turns.
fn event(id: &str, length: usize) -> Value {
    json!({"type": "post_call_transcription", "event_timestamp": 1_790_596_855, "data": {
        "conversation_id": id, "status": "done", "metadata": {"start_time_unix_secs": 1_790_596_800},
        "transcript": [{"role": "user", "message": "I am \
         parked.", "time_in_call_secs": 1}], "filler": "x".repeat(length)}})
}

/// All that honest clients send, once.
fn honest_clients(service: &Service) {
    let bearer = format!("Bearer {TOKEN}");
    for (id, length) in [("conv_100k", 100 << 10), ("conv_1m", 1 << 20), ("conv_14m", 14 << 20)] {
        let body = event(id, length).to_string();
        let took = within_reason(
            service,
            POST_CALL,
            &[("elevenlabs-signature", &signature(body.as_bytes()))],
            body.as_bytes(),
            200,
        );
        println!("event of {} bytes: {took:?}", body.len());
    }
    let audio =
        STANDARD.encode((0..40 << 20).map(|n: u32| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect::<Vec<_>>());
    let body = json!({"type": "post_call_audio", "event_timestamp": 1_739_537_319,
        "data": {"agent_id": "agent_1", "conversation_id": "conv_heard", "full_audio": audio}})
    .to_string();
    let took = within_reason(
        service,
        POST_CALL,
        &[("elevenlabs-signature", &signature(body.as_bytes()))],
        body.as_bytes(),
        200,
    );
    println!("recording of {} bytes: {took:?}", body.len());
    let mut long = turn("conv_long", 1);
    long["message"] = json!("m".repeat(60_000));
    within_reason(service, TURNS, &[], long.to_string().as_bytes(), 201);
    within_reason(service, "/session", &[], json!({"token": TOKEN}).to_string().as_bytes(), 200);
    let dispatches: Vec<_> = (0..1000)
        .map(|n| json!({"conversation_id": format!("conv_{n}_{}", "x".repeat(200)), "driver_id": 1}))
        .collect();
    let answer = service.post_raw(
        "/api/v1/dispatches",
        &[("content-type", "application/json"), ("authorization", &bearer)],
        json!({ "dispatches": dispatches }).to_string().as_bytes(),
    );
    // It was read to its end: there is no such driver.
    answer.expect_error(400);
}

fn all_comes_through(held: Held) {
    for from_many in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let recordings = folder.path().join("recordings");
        let flags = ["--elevenlabs-secret", SECRET, "--audio-dir", recordings.to_str().unwrap(), "--api-token", TOKEN];
        let service = Service::start_with(&flags);
        beside_strangers(&service, held, from_many, || {
            honest_clients(&service);
            let files = std::fs::read_dir(&recordings).unwrap().count();
            assert!(files <= 9, "{files} files of recordings, of which one is kept");
        });
        assert_eq!(std::fs::metadata(recordings.join("conv_heard.mp3")).unwrap().len(), 40 << 20);
        let peak = peak(service.pid());
        println!("{} from {}: peak memory {peak} KiB", held.path, if from_many { "many" } else { "one" });
        assert!(peak < MAX_MEMORY_KIB, "{peak} KiB");
        // What was displaced is not half kept.
        wait_for("the strangers' files to go", || (std::fs::read_dir(&recordings).unwrap().count() == 1).then_some(()));
    }
}

#[test]
fn strangers_that_hold_events_open_keep_nobody_out() {
    all_comes_through(EVENTS);
}

#[test]
fn strangers_that_hold_recordings_open_keep_nobody_out() {
    all_comes_through(RECORDINGS);
}

#[test]
fn strangers_that_hold_turns_open_keep_nobody_out() {
    all_comes_through(TURN_BODIES);
}

#[test]
fn strangers_that_hold_sign_ins_open_keep_nobody_out() {
    all_comes_through(SIGN_INS);
}

#[test]
fn strangers_that_hold_bodies_of_the_api_open_keep_nobody_out() {
    all_comes_through(API_BODIES);
}

#[test]
fn a_client_with_a_token_displaces_strangers_and_none_of_them_displaces_it() {
    const INGEST: &str = "ingest_0123456789abcdef0123456789abcdef";
    let service =
        Service::start_with(&["--ingest-token", INGEST, "--elevenlabs-secret", SECRET, "--body-timeout", "10m"]);
    let bearer = format!("Bearer {INGEST}");
    let mut body = turn("conv_slow", 1);
    body["unknown"] = json!("x".repeat(200_000));
    let body = body.to_string();
    let (most, last) = body.split_at(body.len() - 10);
    let mut proved = TcpStream::connect(service.address()).unwrap();
    write!(
        proved,
        "POST {TURNS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nAuthorization: \
         {bearer}\r\n\
         Content-Length: {}\r\n\r\n{most}",
        body.len()
    )
    .unwrap();
    // It stands still while strangers want all of the memory.
    let more = Held { burst: 3 << 20, ..EVENTS };
    beside_strangers(&service, more, false, || {
        let metrics = || service.get("/metrics").text;
        wait_for("strangers to be displaced", || {
            metrics()
                .lines()
                .any(|line| {
                    line.strip_prefix("transcribe_hook_displaced_bodies_total ").is_some_and(|count| count != "0")
                })
                .then_some(())
        });
        proved.write_all(last.as_bytes()).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut proved, &mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    });
}
