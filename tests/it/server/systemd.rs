//! Under a supervisor: what systemd is told, and what `healthcheck` says.

use crate::support::service::{Service, binary, run, wait_for};
use crate::support::tls::free_port;
use crate::support::turns::turn;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The socket of a supervisor, in place of systemd.
struct Supervisor {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Supervisor {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { socket: UnixDatagram::bind(folder.path().join("notify")).unwrap(), folder }
    }

    /// A service that it started, which has to show its life within this time.
    fn start(&self, watchdog: Option<Duration>, flags: &[&str]) -> Service {
        let mut command = binary();
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        if let Some(limit) = watchdog {
            command.env("WATCHDOG_USEC", limit.as_micros().to_string());
        }
        Service::start_command(command, &self.folder.path().join("calls.db"), flags)
    }

    /// The next that it is told, if that comes within this time.
    fn told(&self, within: Duration) -> Option<String> {
        let mut buffer = [0; 4096];
        self.socket.set_read_timeout(Some(within)).unwrap();
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    /// Waits until it is told this.
    fn wait_for(&self, line: &str) -> String {
        wait_for(line, || self.told(Duration::from_secs(1)).filter(|told| told.lines().any(|l| l == line)))
    }
}

#[test]
fn the_supervisor_is_told_when_the_service_takes_turns_and_when_it_stops() {
    let supervisor = Supervisor::new();
    let service = supervisor.start(None, &[]);
    let first = supervisor.told(Duration::from_secs(30)).unwrap();
    assert_eq!(first, "READY=1\nSTATUS=ready\n");
    service.deliver(&turn("conv_a", 1)).expect(201);
    service.signal("TERM");
    assert_eq!(supervisor.told(Duration::from_secs(30)).unwrap(), "STOPPING=1\nSTATUS=stopping\n");
    assert!(service.wait().0.success());
    assert_eq!(supervisor.told(Duration::from_millis(10)), None, "without a watchdog it is told no more");
}

#[test]
fn the_watchdog_is_told_that_the_service_lives_only_while_the_writer_answers() {
    const LIMIT: Duration = Duration::from_millis(600);
    let supervisor = Supervisor::new();
    let service = supervisor.start(Some(LIMIT), &["--write-timeout", "3s"]);
    supervisor.wait_for("READY=1");
    // A slow machine may be late now and then; a service that is told the wrong limit always is.
    wait_for("two signs of life within the limit", || {
        supervisor.wait_for("WATCHDOG=1");
        let last = Instant::now();
        supervisor.wait_for("WATCHDOG=1");
        (last.elapsed() < LIMIT).then_some(())
    });

    // The writer waits for a lock that somebody else holds, as it would for a disk that hangs.
    let other = rusqlite::Connection::open(service.database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    wait_for("silence", || supervisor.told(2 * LIMIT).is_none().then_some(()));
    // Then it gives up and says why. That is an answer: to start anew would not make the database take writes.
    wait_for("the failure to be told", || {
        let told = supervisor.told(Duration::from_secs(1))?;
        told.strip_prefix("WATCHDOG=1\nSTATUS=").filter(|status| *status != "ready").map(str::to_owned)
    });
    other.execute_batch("ROLLBACK").unwrap();
    supervisor.wait_for("STATUS=ready");
    service.stop();
}

fn healthcheck(url: &str, more: &[&str]) -> (Option<i32>, String) {
    let out = run(&[&["healthcheck", "--url", url], more].concat());
    (out.status.code(), format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
}

#[test]
fn healthcheck_exits_0_when_the_service_can_do_its_work_and_1_when_it_cannot() {
    // Patience is short, so a slow machine may be refused once more after the lock is gone: it is ready when it says
    // so.
    let listen = format!("127.0.0.1:{}", free_port());
    let service = Service::start_with(&["--write-timeout", "50ms", "--listen", &listen]);
    let other = rusqlite::Connection::open(service.database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (code, said) = healthcheck(&service.url(""), &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("503"), "{said}");
    other.execute_batch("ROLLBACK").unwrap();
    let ready = || (Some(0), "ready\n".to_owned());
    wait_for("the service to be ready", || (healthcheck(&service.url(""), &[]) == ready()).then_some(()));
    wait_for("the same with a slash at the address's end", || {
        (healthcheck(&service.url("/"), &[]) == ready()).then_some(())
    });
    let url = service.url("");
    drop(service);
    let (code, said) = healthcheck(&url, &[]);
    assert_eq!(code, Some(1), "{said}");
}

#[test]
fn healthcheck_and_token_find_the_service_by_the_variables_that_it_was_started_with() {
    let listen = format!("127.0.0.1:{}", free_port());
    let service = Service::start_guarded(&["--listen", &listen]);
    let by_variable = |args: &[&str]| binary().args(args).env("TRANSCRIBE_HOOK_LISTEN", &listen).output().unwrap();
    let out = by_variable(&["healthcheck"]);
    assert!(out.status.success(), "{out:?}");
    let out = by_variable(&["token", "--link", "--database", service.database().to_str().unwrap()]);
    let link = String::from_utf8(out.stdout).unwrap();
    assert!(link.starts_with(&service.url("/#token=")), "{link}");
    drop(service);
    assert_eq!(by_variable(&["healthcheck"]).status.code(), Some(1));
    // A port that the service picked itself is not known.
    let out = run(&["healthcheck", "--listen", "127.0.0.1:0"]);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
}

#[test]
fn healthcheck_waits_no_longer_than_it_is_told_to() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    wait_for("an end before the five seconds that it waits otherwise", || {
        let started = Instant::now();
        let (code, said) = healthcheck(&url, &["--timeout", "200ms"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(started.elapsed() >= Duration::from_millis(200), "{said}");
        (started.elapsed() < Duration::from_secs(5)).then_some(())
    });
}
