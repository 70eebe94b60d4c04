//! Returns free memory to the operating system.
//!
//! glibc keeps freed memory in per-thread arenas, up to eight per core. Fewer arenas would save memory but add lock
//! contention on the write path, so `malloc_trim` is called periodically instead. Freeing a block of some megabytes
//! also raises glibc's thresholds: later blocks of that size then come from the arenas too, and each arena retains
//! twice as much free memory. The thresholds are therefore fixed.
#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "no dependency exposes these functions")
)]

use crate::jobs::interval_thread::IntervalThread;
use std::io;
use std::time::Duration;

/// Interval between two calls of `malloc_trim`.
const TRIM_INTERVAL: Duration = Duration::from_secs(10);

/// Fixes the allocator's thresholds, and starts a thread that returns free memory periodically.
///
/// # Errors
/// The operating system could not create the thread.
pub(super) fn trim_regularly() -> io::Result<IntervalThread> {
    system::keep_little();
    IntervalThread::start("malloc-trim", TRIM_INTERVAL, || {
        system::trim();
        TRIM_INTERVAL
    })
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod system {
    use std::ffi::c_int;

    // SAFETY: according to mallopt(3) and malloc_trim(3), any thread may call these functions at any time.
    unsafe extern "C" {
        safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
        safe fn malloc_trim(pad: usize) -> c_int;
    }

    /// `M_TRIM_THRESHOLD`: maximum free memory at the end of an arena, in bytes.
    const TRIM_THRESHOLD: c_int = -1;

    /// `M_MMAP_THRESHOLD`: minimum size of a block that is mapped separately and unmapped when it is freed, in bytes.
    const MMAP_THRESHOLD: c_int = -3;

    /// Fixes both thresholds. Otherwise they grow with the freed blocks, up to 64 and 32 MiB.
    pub(super) fn keep_little() {
        mallopt(TRIM_THRESHOLD, 1 << 20);
        mallopt(MMAP_THRESHOLD, 1 << 18);
    }

    pub(super) fn trim() {
        malloc_trim(0);
    }
}

/// Does nothing: other allocators lack these functions or do not need them.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod system {
    pub(super) fn keep_little() {}

    pub(super) fn trim() {}
}
