//! No power cut loses an acknowledged turn or event, and none leaves a database that contradicts itself.
//!
//! The real binary runs with a recorder in it, which writes down each write, sync and answer in the order they
//! happened. From that log the tests build what the disk may hold after the power went at any point: all that was
//! synced, and of the rest nothing, a random half, or everything. Each such state is opened, which recovers it, and is
//! held against the answers that had been sent by then.
//!
//! The second test shows that the first would notice: it takes the sync at each commit away.
//!
//! On Linux only, where a library can be loaded into the unmodified program.
#![cfg(target_os = "linux")]

mod disk;
mod examine;

use crate::support::random::Random;
use crate::support::recorder::{Event, Moment, Recorder};
use crate::support::search::{compare, indexed};
use crate::support::service::{Service, TURNS, binary, wait_for};
use crate::support::turns::turn;
use crate::support::whole_call::{POST_CALL, SECRET, post_signed};
use disk::{Disk, Luck};
use examine::{Harm, Promise, Report, examine};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use transcribe_hook::elevenlabs::signature::sign;
use transcribe_hook::secret::Secret;
use ureq::Body;
use ureq::http::Response;

const CLIENTS: usize = 8;
const DATABASE: &str = "calls.db";
const FLAGS: [&str; 2] = ["--elevenlabs-secret", SECRET];

/// Among so many turns of a client there is an event, before the first of them.
const EVENT_EVERY: usize = 4;

#[test]
fn no_power_cut_loses_an_acknowledged_turn_or_event() {
    let recorder = Recorder::build();
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join(DATABASE);
    let recording = || recorder.recording(binary(), folder.path());

    // A day like any other: load, an idle time with a checkpoint, load, and an orderly end.
    let service = Service::start_command(recording(), &database, &FLAGS);
    let mut next = deliver_by_all(&service, [0; CLIENTS], 30);
    let log = folder.path().join(format!("{DATABASE}-wal"));
    wait_for("the log to be folded in", || log.metadata().is_ok_and(|log| log.len() == 0).then_some(()));
    next = deliver_by_all(&service, next, 10);
    service.stop();

    for sync in (30..).step_by(7).take(10) {
        // A crash in the middle of a commit: its turns are in the log, not synced, and nobody was told of them.
        let killed = recorder.killing(recording(), folder.path(), sync, Moment::BeforeSync);
        let service = Service::start_command(killed, &database, &FLAGS);
        next = deliver_by_all(&service, next, 1000);
        assert_eq!(service.wait().0.signal(), Some(9), "killed by the recorder");

        // The senders repeat what got no answer.
        let service = Service::start_command(recording(), &database, &FLAGS);
        next = deliver_by_all(&service, next, 10);
        service.stop();
        // Unless that commit was one of the index, which has no turns.
        if recorder.events().iter().filter_map(Promise::of).any(|promise| promise.replayed) {
            break;
        }
    }

    let events = recorder.events();
    let promises: Vec<_> = events.iter().filter_map(Promise::of).collect();
    assert!(promises.len() > CLIENTS * 50, "{} turns were acknowledged", promises.len());
    let reports = events.iter().filter_map(Report::of).count();
    assert!(reports > CLIENTS * 10, "{reports} events were acknowledged");
    assert!(promises.iter().any(|promise| promise.replayed), "the crash came between a commit's write and its sync");

    assert_nothing_went_unrecorded(&events, &database);

    let mut cuts = Cuts::of(&events);
    let points = cuts.choose_points();
    assert!(points.len() >= 60, "{} points", points.len());
    for (i, point) in points.iter().enumerate() {
        for luck in [Luck::Nothing, Luck::Half, Luck::Everything] {
            let state = cuts.at(*point, luck);
            if let Err(harm) = state.examine() {
                panic!("{}: {harm:?}", state.name);
            }
            // Recovery by the service itself costs more, so that it is tried on some states only: of the file's first
            // moments, since these are special, and of all the rest.
            if luck == Luck::Half && (*point < FIRST_MOMENTS || i % 10 == 0) {
                println!("{}", state.name);
                state.serve();
            }
        }
    }
}

#[test]
fn without_a_sync_at_each_commit_a_power_cut_is_seen_to_lose_turns() {
    let recorder = Recorder::build();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = recorder.recording(binary(), folder.path());
    command.env("TRANSCRIBE_HOOK_TEST_SYNCHRONOUS_NORMAL", "1");
    let service = Service::start_command(command, &folder.path().join(DATABASE), &FLAGS);
    deliver_by_all(&service, [0; CLIENTS], 30);
    service.stop();

    let events = recorder.events();
    let mut cuts = Cuts::of(&events);
    let (mut states, mut lost) = (0, 0);
    for point in cuts.choose_points() {
        for luck in [Luck::Nothing, Luck::Half, Luck::Everything] {
            let state = cuts.at(point, luck);
            states += 1;
            match state.examine() {
                Ok(()) => {}
                Err(Harm::Lost(_)) => lost += 1,
                Err(harm @ Harm::Corrupt(_)) => panic!("{}: {harm:?}", state.name),
            }
        }
    }
    assert!(lost > 0, "seed {}: none of {states} states lost a turn", cuts.seed);
}

/// All events together make the very files that the service left, and no other.
fn assert_nothing_went_unrecorded(events: &[Event], database: &Path) {
    let mut disk = Disk::default();
    for event in events {
        disk.apply(event);
    }
    let files = disk.after_power_cut(Luck::Everything, &mut Random::new(0));
    assert_eq!(files.keys().collect::<Vec<_>>(), [DATABASE, &format!("{DATABASE}.search")]);
    for (name, content) in &files {
        let left = std::fs::read(database.with_file_name(name)).expect("a file");
        assert!(*content == left, "the recorded writes make {name}");
    }
}

/// Each client delivers `count` turns, or as many as the service lives to take; returns each client's next turn, which
/// it may have delivered without hearing of it.
fn deliver_by_all(service: &Service, from: [usize; CLIENTS], count: usize) -> [usize; CLIENTS] {
    std::thread::scope(|scope| {
        let clients: Vec<_> = from
            .into_iter()
            .enumerate()
            .map(|(client, from)| {
                scope.spawn(move || {
                    let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30))).build();
                    let agent = ureq::Agent::from(agent);
                    (from..from + count).find(|&i| !deliver(&agent, service, client, i)).unwrap_or(from + count)
                })
            })
            .collect();
        let next: Vec<_> = clients.into_iter().map(|client| client.join().expect("a client")).collect();
        next.try_into().expect("one number a client")
    })
}

/// Returns true if the service answered. It must have stored the delivery then.
fn deliver(agent: &ureq::Agent, service: &Service, client: usize, i: usize) -> bool {
    // Three clients speak in each conversation.
    let conversation = format!("conv_{}", client / 3);
    let n = client * 10_000 + i;
    if i.is_multiple_of(EVENT_EVERY) && !answered(report(agent, service, n), 200) {
        return false;
    }
    let request = agent.post(service.url(TURNS)).header("x-request-id", Promise::request_id(&conversation, n));
    answered(request.send_json(turn(&conversation, n)), 201)
}

/// Posts an event as ElevenLabs does.
fn report(agent: &ureq::Agent, service: &Service, n: usize) -> Result<Response<Body>, ureq::Error> {
    let body = Report::body(n);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock past 1970").as_secs();
    let signature = sign(&Secret::new(SECRET).expect("a secret"), now.cast_signed(), body.as_bytes());
    let request = agent.post(service.url(POST_CALL)).header("x-request-id", Report::request_id(n));
    request.header("content-type", "application/json").header("elevenlabs-signature", signature).send(body)
}

fn answered(answer: Result<Response<Body>, ureq::Error>, status: u16) -> bool {
    match answer {
        Ok(response) => {
            assert_eq!(response.status(), status);
            true
        }
        Err(error @ ureq::Error::StatusCode(_)) => panic!("{error}"),
        Err(_) => false,
    }
}

/// Number of recorded events of the file's creation.
const FIRST_MOMENTS: usize = 12;

/// Power cuts in one recorded history, at ever later points.
struct Cuts<'a> {
    seed: u64,
    random: Random,
    events: &'a [Event],
    disk: Disk,
    done: usize,
    promises: Vec<Promise>,
    reports: Vec<Report>,
}

/// The state after one power cut.
struct State {
    name: String,
    folder: tempfile::TempDir,
    promises: Vec<Promise>,
    reports: Vec<Report>,
}

impl<'a> Cuts<'a> {
    fn of(events: &'a [Event]) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock past 1970");
        let seed = u64::from(since.subsec_nanos()) ^ since.as_secs() << 30;
        let (promises, reports) = (Vec::new(), Vec::new());
        Self { seed, random: Random::new(seed), events, disk: Disk::default(), done: 0, promises, reports }
    }

    /// Points at random, as many just after an acknowledgement, some before the first one, each of the first moments,
    /// and the end.
    fn choose_points(&mut self) -> Vec<usize> {
        const EACH: usize = 35;
        const EARLY: usize = 10;
        let is_answer = |event: &Event| Promise::of(event).is_some() || Report::of(event).is_some();
        let answers: Vec<_> = (1..=self.events.len()).filter(|i| is_answer(&self.events[i - 1])).collect();
        let mut points: Vec<_> = (0..FIRST_MOMENTS).chain([self.events.len()]).collect();
        for _ in 0..EACH {
            points.push(self.random.below(self.events.len()));
            points.push(answers[self.random.below(answers.len())]);
        }
        points.extend((0..EARLY).map(|_| self.random.below(answers[0])));
        points.sort_unstable();
        points.dedup();
        points
    }

    /// The power goes after the first `point` events.
    fn at(&mut self, point: usize, luck: Luck) -> State {
        for event in &self.events[self.done..point] {
            self.disk.apply(event);
            self.promises.extend(Promise::of(event));
            self.reports.extend(Report::of(event));
        }
        self.done = point;
        let files = self.disk.after_power_cut(luck, &mut self.random);
        let name = format!(
            "seed {}, power cut after event {point} of {} with {luck:?} of what was not synced, files {:?}",
            self.seed,
            self.events.len(),
            files.iter().map(|(name, content)| (name, content.len())).collect::<BTreeMap<_, _>>()
        );
        let folder = tempfile::tempdir().expect("a folder");
        for (file, content) in &files {
            std::fs::write(folder.path().join(file), content).expect("room for a file");
        }
        // The index of the log is never synced: whatever is found in it must not be believed.
        let noise: Vec<u8> = (0..4096).map(|_| self.random.byte()).collect();
        for shm in ["-shm", ".search-shm"] {
            std::fs::write(folder.path().join(format!("{DATABASE}{shm}")), &noise).expect("room for a file");
        }
        State { name, folder, promises: self.promises.clone(), reports: self.reports.clone() }
    }
}

impl State {
    /// Looks at a copy, so that the state can be used again.
    fn examine(&self) -> Result<(), Harm> {
        let copy = tempfile::tempdir().expect("a folder");
        for file in self.folder.path().read_dir().expect("a folder") {
            let file = file.expect("a file");
            std::fs::copy(file.path(), copy.path().join(file.file_name())).expect("room for a copy");
        }
        examine(&copy.path().join(DATABASE), &self.promises, &self.reports)
    }

    /// The service starts on it, answers a repeat of the last acknowledged turn as it did the first time, and has an
    /// index in step with what is stored.
    fn serve(&self) {
        let database = self.folder.path().join(DATABASE);
        let service = Service::start_on(&database, &FLAGS);
        if let Some(promise) = self.promises.last() {
            let answer = service.deliver(&turn(&promise.conversation, promise.n)).expect(201);
            assert_eq!(answer.header("idempotent-replayed"), Some("true"), "{}", self.name);
            assert_eq!(answer.json()["transcription_id"], promise.transcription_id, "{}", self.name);
            assert_eq!(answer.json()["sequence_number"], promise.sequence_number, "{}", self.name);
        }
        if let Some(last) = self.reports.last() {
            let events = || -> i64 {
                service.sqlite().query_row("SELECT count(*) FROM webhook_events", [], |row| row.get(0)).unwrap()
            };
            let before = events();
            post_signed(&service, &Report::body(last.n)).expect(200);
            assert_eq!(events(), before, "{}: it was stored before", self.name);
        }
        service.deliver(&turn("conv_after", 1)).expect(201);
        indexed(&service);
        service.stop();
        compare(&database);
        assert_eq!(examine(&database, &self.promises, &self.reports), Ok(()), "{}", self.name);
    }
}
