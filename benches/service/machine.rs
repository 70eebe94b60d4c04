//! Facts about the system and its processes, from `/proc`.

use serde::Serialize;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The machine's properties that the results depend on.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    pub(crate) sqlite: &'static str,
    pub(crate) journal: &'static str,
    pub(crate) commit: Option<String>,
}

impl Machine {
    /// Reads the machine's properties. `folder` is where databases will be.
    pub(crate) fn read(folder: &Path) -> Self {
        let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
        Self {
            cpu,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: kibibytes("/proc/meminfo", "MemTotal") / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(folder).unwrap_or_else(|| "unknown".to_owned()),
            sqlite: rusqlite::version(),
            // A release build has no other setting, and refuses to start if SQLite reports another one.
            journal: "WAL, synchronous=FULL",
            commit: commit(),
        }
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Returns the first `name: value` of a file.
fn field(path: &str, name: &str) -> Option<String> {
    read(path).lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn kibibytes(path: &str, name: &str) -> u64 {
    field(path, name).and_then(|value| value.split(' ').next()?.parse().ok()).unwrap_or(0)
}

/// Returns type and mount options of the folder's file system.
fn file_system(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = read("/proc/self/mounts");
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((Path::new(words.next()?), words.next()?, words.next()?))
    });
    let (_, kind, options) =
        mounts.filter(|(at, ..)| folder.starts_with(at)).max_by_key(|(at, ..)| at.as_os_str().len())?;
    Some(format!("{kind} ({options})"))
}

/// Returns the commit of the sources, with `+` if files were changed since.
fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|files| !files.is_empty());
    Some(if changed { commit + "+" } else { commit })
}

/// Returns the memory of a process, in KiB: current and peak.
pub(crate) fn memory(pid: u32) -> (u64, u64) {
    let status = format!("/proc/{pid}/status");
    (kibibytes(&status, "VmRSS"), kibibytes(&status, "VmHWM"))
}

/// Processor time up to an instant, in the system's ticks.
pub(crate) struct Clock {
    at: Instant,
    server: u64,
    client: u64,
    all: u64,
}

/// Processor time over a period, in cores: 1 is one core all the time.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct CpuShare {
    pub(crate) server: f64,
    pub(crate) client: f64,
    /// Other processes and the system itself.
    pub(crate) others: f64,
}

impl Clock {
    /// Reads the usage of the server's process and of this one.
    pub(crate) fn read(server: u32) -> Self {
        Self {
            at: Instant::now(),
            server: process_ticks(&server.to_string()),
            client: process_ticks("self"),
            all: busy_ticks(),
        }
    }

    /// Returns the usage from `earlier` to this instant.
    pub(crate) fn since(&self, earlier: &Self) -> CpuShare {
        // USER_HZ, which is part of the kernel's interface.
        const TICKS_A_SECOND: f64 = 100.0;
        let seconds = (self.at - earlier.at).as_secs_f64();
        let cores = |ticks: u64| crate::stats::float(ticks) / TICKS_A_SECOND / seconds;
        let server = cores(self.server.saturating_sub(earlier.server));
        let client = cores(self.client.saturating_sub(earlier.client));
        let all = cores(self.all.saturating_sub(earlier.all));
        CpuShare { server, client, others: (all - server - client).max(0.0) }
    }
}

/// Waits at most for `timeout` until other processes hardly use the cores, because they would distort measurements.
pub(crate) fn wait_for_quiet(timeout: Duration) {
    const SAMPLING_TIME: Duration = Duration::from_millis(300);
    let end = Instant::now() + timeout;
    while Instant::now() < end {
        let before = Clock::read(std::process::id());
        std::thread::sleep(SAMPLING_TIME);
        if Clock::read(std::process::id()).since(&before).others < 0.15 {
            break;
        }
    }
}

/// Returns the user and system time of a process.
fn process_ticks(pid: &str) -> u64 {
    let stat = read(&format!("/proc/{pid}/stat"));
    // The name in parentheses may hold blanks.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_ascii_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// Returns the busy time over all cores, including time stolen by other guests.
fn busy_ticks() -> u64 {
    let stat = read("/proc/stat");
    let fields = stat.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1).take(8);
    let ticks = fields.map(|field| field.parse::<u64>().unwrap_or(0));
    ticks.enumerate().filter(|(n, _)| !matches!(n, 3 | 4)).map(|(_, ticks)| ticks).sum()
}
