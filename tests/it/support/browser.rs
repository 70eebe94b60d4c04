//! A real browser for tests: one headless Chromium for all of them, driven by the scripts in `tests/browser`, which
//! `tests/run` gives what they need. Each test has pages of its own, in profiles of their own.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// The browser, which starts with the first page. It ends when its standard input does, which is with the tests.
struct Browser {
    input: Mutex<ChildStdin>,
    waiting: Arc<Mutex<HashMap<u64, Sender<Value>>>>,
    count: AtomicU64,
}

static BROWSER: LazyLock<Browser> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new("node")
        .arg(root.join("tests/browser/driver.mjs"))
        .arg(root.join("target/browser"))
        .arg("/usr/bin/chromium")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tests/run has installed node");
    let output = BufReader::new(child.stdout.take().expect("is piped"));
    let input = Mutex::new(child.stdin.take().expect("is piped"));
    let waiting = Arc::new(Mutex::new(HashMap::<u64, Sender<Value>>::new()));
    let answered = waiting.clone();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
            let waits = answered.lock().unwrap().remove(&answer["id"].as_u64().unwrap());
            let _ = waits.expect("it was asked").send(answer);
        }
        // Whoever still waits is told by the end of its channel.
        answered.lock().unwrap().clear();
        let _ = child.wait();
    });
    Browser { input, waiting, count: AtomicU64::new(0) }
});

/// Longest time for one step, which waits for each thing that it looks for at most a minute itself.
const PATIENCE: Duration = Duration::from_mins(5);

impl Browser {
    #[track_caller]
    fn ask(&self, page: &str, step: &str, args: &Value) -> Value {
        let id = self.count.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = channel();
        self.waiting.lock().unwrap().insert(id, sender);
        let line = json!({"id": id, "page": page, "step": step, "args": args});
        writeln!(self.input.lock().unwrap(), "{line}").expect("the browser's driver runs");
        let mut answer = answer.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{step}: {error}"));
        if let Some(error) = answer["error"].as_str() {
            panic!("{error}");
        }
        answer["value"].take()
    }
}

/// A page in a profile of its own.
pub struct Page(String);

impl Page {
    /// Opens an address. `how` may hold `dark`, `phone` and `zone`.
    #[track_caller]
    pub fn open(url: &str, how: Value) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let page = Self(COUNT.fetch_add(1, Ordering::Relaxed).to_string());
        let mut args = how;
        args["url"] = url.into();
        BROWSER.ask(&page.0, "open", &args);
        page
    }

    /// Does a step of `tests/browser`, which fails this test if it fails.
    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    #[track_caller]
    pub fn step(&self, name: &str, args: Value) -> Value {
        BROWSER.ask(&self.0, name, &args)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            BROWSER.ask(&self.0, "close", &Value::Null);
        }
    }
}
