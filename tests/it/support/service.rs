//! Starts the built binary on a free port over a database of its own, and talks to it as any client would.

use crate::support::turns::turn;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The built binary, with none of the caller's configuration.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_transcribe-hook"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRANSCRIBE_HOOK_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the binary to its end.
pub fn run(args: &[&str]) -> Output {
    binary().args(args).output().expect("the binary starts")
}

/// Runs a Python program that may use ElevenLabs' SDK, which `tests/run` installs, and gives what it prints.
pub fn sdk_python(program: &str, input: &Value) -> Value {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/elevenlabs-sdk/bin/python");
    let mut child = Command::new(python)
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tests/run has installed the SDK");
    child.stdin.take().expect("is piped").write_all(input.to_string().as_bytes()).expect("it reads");
    let out = child.wait_with_output().expect("it ends");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    serde_json::from_slice(&out.stdout).expect("it prints JSON")
}

/// Maximum wait for anything that must happen. Long, because only a failing test waits for all of it, and a busy
/// machine is no fault of the service.
const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until `condition` gives a value.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A running service; killed when it goes out of scope.
pub struct Service {
    child: Running,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    agent: ureq::Agent,
    database: PathBuf,
    /// The folder of the database, when it is this service's own.
    folder: Option<TempDir>,
}

impl Service {
    /// A service over a new database. Nobody needs a token of it, as of all that are started here without
    /// `--api-token`, but for [`Service::start_guarded`].
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A service over a new database with more flags.
    pub fn start_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut service = Self::start_on(&folder.path().join("calls.db"), flags);
        service.folder = Some(folder);
        service
    }

    /// A service over a new database as people start it: reading needs the token that it makes, [`Service::token`].
    pub fn start_guarded(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut service = Self::start_guarded_on(&folder.path().join("calls.db"), flags);
        service.folder = Some(folder);
        service
    }

    /// Starts a guarded service over the given database.
    pub fn start_guarded_on(database: &Path, flags: &[&str]) -> Self {
        Self::launch(binary(), database, flags)
    }

    /// A service over the given database, which stays when the service goes.
    pub fn start_on(database: &Path, flags: &[&str]) -> Self {
        Self::start_command(binary(), database, flags)
    }

    /// A service started by a command that was prepared, with an environment for example.
    pub fn start_command(command: Command, database: &Path, flags: &[&str]) -> Self {
        let by_flag = flags.iter().any(|flag| flag.starts_with("--api-token"));
        let by_variable =
            command.get_envs().any(|(name, value)| value.is_some() && name.to_string_lossy().contains("API_TOKEN"));
        let open = ["--no-token"];
        let open = if by_flag || by_variable || flags.contains(&open[0]) { &[][..] } else { &open };
        Self::launch(command, database, &[flags, open].concat())
    }

    fn launch(mut command: Command, database: &Path, flags: &[&str]) -> Self {
        command.args(["serve", "--log-format", "json", "--database"]).arg(database).args(flags);
        if !flags.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
        // From here on the process goes with this value, also when it never listens.
        let mut child = Running(child);
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.0.stderr.take().expect("is piped"));
        let collected = log.clone();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                collected.lock().unwrap().push(line);
            }
        });
        let address = wait_for("the service to listen", || {
            let ended = child.0.try_wait().expect("a child");
            let log = log.lock().unwrap();
            let mut listening = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let address: Option<SocketAddr> =
                listening.find_map(|line| line["address"].as_str().map(|a| a.parse().expect("an address")));
            // One that a test has killed early may have listened before.
            if let (None, Some(status)) = (address, ended) {
                panic!("the service ended with {status}: {log:?}");
            }
            address
        });
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(3 * PATIENCE))
            .max_idle_connections_per_host(128)
            .build()
            .into();
        Self { child, address, log, agent, database: database.to_owned(), folder: None }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn database(&self) -> &Path {
        &self.database
    }

    /// The token that the service made.
    pub fn token(&self) -> String {
        let file = self.database.with_added_extension("token");
        std::fs::read_to_string(file).expect("the service made one").trim().to_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All log lines so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Returns all log lines so far, parsed.
    pub fn events(&self) -> Vec<Value> {
        self.log().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Returns the log lines of a level from the module whose path ends in `module`.
    pub fn logged(&self, level: &str, module: &str) -> Vec<Value> {
        let ending = format!("::{module}");
        let is_from = |line: &Value| line["target"].as_str().is_some_and(|target| target.ends_with(&ending));
        self.events().into_iter().filter(|line| line["level"] == level && is_from(line)).collect()
    }

    /// Waits for a log line of a level from a module, and returns the first.
    pub fn wait_logged(&self, level: &str, module: &str) -> Value {
        wait_for("a line in the log", || self.logged(level, module).into_iter().next())
    }

    /// A connection of its own to the file, as an analyst would open it.
    pub fn sqlite(&self) -> rusqlite::Connection {
        open(&self.database)
    }

    pub fn get(&self, path: &str) -> Answer {
        Answer::of(self.agent.get(self.url(path)).call())
    }

    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request =
            headers.iter().fold(self.agent.get(self.url(path)), |request, (name, value)| request.header(*name, *value));
        Answer::of(request.call())
    }

    pub fn delete(&self, path: &str) -> Answer {
        Answer::of(self.agent.delete(self.url(path)).call())
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.agent.put(self.url(path)).send_json(body))
    }

    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.agent.patch(self.url(path)).send_json(body))
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.agent.post(self.url(path)).send_json(body))
    }

    /// A post of bytes that need not be JSON, with headers.
    pub fn post_raw(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let request = headers
            .iter()
            .fold(self.agent.post(self.url(path)), |request, (name, value)| request.header(*name, *value));
        Answer::of(request.send(body))
    }

    /// A post of a body whose length is not announced, in chunks.
    pub fn post_chunked(&self, path: &str, headers: &[(&str, &str)], body: impl Read + 'static) -> Answer {
        let request = headers
            .iter()
            .fold(self.agent.post(self.url(path)), |request, (name, value)| request.header(*name, *value));
        Answer::of(request.send(ureq::SendBody::from_owned_reader(body)))
    }

    /// Delivers a turn to the webhook.
    pub fn deliver(&self, turn: &Value) -> Answer {
        self.post(TURNS, turn)
    }

    /// Delivers a turn where the service may be gone.
    pub fn try_deliver(&self, turn: &Value) -> Result<Answer, ureq::Error> {
        self.agent.post(self.url(TURNS)).send_json(turn).map(|response| Answer::of(Ok(response)))
    }

    /// Deletes something where the service may be gone.
    pub fn try_delete(&self, path: &str) -> Result<Answer, ureq::Error> {
        self.agent.delete(self.url(path)).call().map(|response| Answer::of(Ok(response)))
    }

    /// Changes something where the service may be gone.
    pub fn try_patch(&self, path: &str, body: &Value) -> Result<Answer, ureq::Error> {
        self.agent.patch(self.url(path)).send_json(body).map(|response| Answer::of(Ok(response)))
    }

    /// Does `work` while four clients deliver turns one after the other. Each turn must be stored.
    pub fn while_turns_come<T>(&self, work: impl FnOnce() -> T) -> T {
        /// Ends the load also when the work fails.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for client in 0..4 {
                let done = &done;
                scope.spawn(move || {
                    for n in 0.. {
                        if done.load(Ordering::Relaxed) {
                            break;
                        }
                        self.deliver(&turn(&format!("conv_{client}_{}", n % 5), n)).expect(201);
                    }
                });
            }
            let _end = End(&done);
            work()
        })
    }

    /// Returns the number of turns in the file.
    pub fn turns_stored(&self) -> usize {
        self.sqlite().query_row("SELECT count(*) FROM call_transcriptions", [], |row| row.get(0)).unwrap()
    }

    /// Returns the number of events of ElevenLabs in the file.
    pub fn events_stored(&self) -> usize {
        self.sqlite().query_row("SELECT count(*) FROM webhook_events", [], |row| row.get(0)).unwrap()
    }

    /// Sends a signal, such as `TERM` or `KILL`, to the process.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().expect("kill");
        assert!(sent.success(), "the process takes a signal");
    }

    /// Waits for the process to end by itself.
    pub fn wait(mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        let status = wait_for("the service to end", || self.child.0.try_wait().expect("a child"));
        (status, start.elapsed())
    }

    /// SIGTERM, and the end. The database's folder stays until the returned value goes.
    pub fn stop(mut self) -> Option<TempDir> {
        let folder = self.folder.take();
        self.signal("TERM");
        let (status, _) = self.wait();
        assert!(status.success(), "stopped with {status}");
        folder
    }
}

/// A child process that is killed when it goes out of scope.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The greatest memory that a process has had, in KiB.
pub fn peak(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

/// The memory that a process has, in KiB.
pub fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// A line of a process's status that is in KiB.
fn status(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Path of the webhook for turns.
pub const TURNS: &str = "/webhooks/elevenlabs/transcription";

/// A read-only connection to a database file.
pub fn open(database: &Path) -> rusqlite::Connection {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(database, flags).expect("the file opens");
    connection.busy_timeout(Duration::from_secs(10)).expect("a time-out");
    connection
}

/// The status of a code of errors in the guide's table.
pub fn status_of_code(code: &str) -> Option<u16> {
    let guide = include_str!("../../../openapi/README.md");
    let row = guide.lines().find_map(|line| line.strip_prefix(&format!("| `{code}` | ")))?;
    row.split(' ').next()?.parse().ok()
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub text: String,
}

impl Answer {
    fn of(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Self {
        let mut response = response.expect("the service answers");
        let text = response.body_mut().with_config().limit(64 << 20).read_to_string().expect("a body of text");
        Self { status: response.status().as_u16(), headers: response.headers().clone(), text }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("visible ASCII"))
    }

    /// The answer itself if it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The body of an error that has the one shape.
    #[track_caller]
    pub fn expect_error(self, status: u16) -> Value {
        let answer = self.expect(status);
        let body = answer.json();
        let keys: Vec<_> = body.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(keys, ["status", "code", "message", "details", "request_id"], "{body}");
        let code = body["code"].as_str().expect("a text");
        assert_eq!(status_of_code(code), Some(status), "{code} is documented for this status: {body}");
        assert_eq!(body["status"], "error");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
        assert_eq!(body["request_id"].as_str(), answer.header("x-request-id"), "{body}");
        body
    }
}
