//! The process metrics of Prometheus' client libraries, under their common names.

use super::builder;
use prometheus::{Counter, Gauge, IntGauge, Registry};
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

struct Process {
    registry: Registry,
    cpu_seconds: Counter,
    resident_bytes: IntGauge,
    open_fds: IntGauge,
}

static PROCESS: LazyLock<Process> = LazyLock::new(|| {
    let registry = Registry::new();
    let start = Gauge::new("process_start_time_seconds", "Start time of the process, in seconds since 1970.");
    let start = builder::registered(&registry, start);
    start.set(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64()));
    let cpu = Counter::new("process_cpu_seconds_total", "User and system CPU time, in seconds.");
    let resident = IntGauge::new("process_resident_memory_bytes", "Resident memory size, in bytes.");
    let open = IntGauge::new("process_open_fds", "Number of open file descriptors.");
    Process {
        cpu_seconds: builder::registered(&registry, cpu),
        resident_bytes: builder::registered(&registry, resident),
        open_fds: builder::registered(&registry, open),
        registry,
    }
});

/// Records the start time of the process, so it must be called at the start.
pub(super) fn init() {
    LazyLock::force(&PROCESS);
}

/// Refreshes the metrics. Values that the system does not provide remain unchanged.
pub(super) fn refresh() {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    let taken = Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanoseconds).as_secs_f64();
    PROCESS.cpu_seconds.inc_by((taken - PROCESS.cpu_seconds.get()).max(0.0));
    // https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html: the second number, in pages.
    let pages =
        fs::read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').nth(1)?.parse::<i64>().ok());
    if let Some(pages) = pages {
        let page = i64::try_from(rustix::param::page_size()).expect("a page is small");
        PROCESS.resident_bytes.set(pages.saturating_mul(page));
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // The descriptor that is open for counting is not included.
        PROCESS.open_fds.set(i64::try_from(entries.count()).unwrap_or(i64::MAX) - 1);
    }
}

pub(super) fn text() -> String {
    builder::text(&PROCESS.registry)
}
