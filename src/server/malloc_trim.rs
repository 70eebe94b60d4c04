//! Gives memory that is free back to the system.
//!
//! glibc's allocator keeps what a thread freed for the next time, in up to eight places for each core: after ten minutes of
//! everything at once 38 MB were held and 10 used. With fewer places it would keep less, and the threads that store turns
//! would wait for one another. Once a block of some megabytes was freed, it also takes the next ones of that length from
//! these places, and keeps twice as much free at the end of each: after some events of 15 MB 115 MB were held.
#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "no crate that is here anyway has these functions")
)]

use std::time::Duration;
use tokio::task::JoinHandle;

/// How often.
const EVERY: Duration = Duration::from_secs(10);

/// Sets for good what is kept, and gives free memory back again and again, until the task is aborted.
pub(super) fn give_back() -> JoinHandle<()> {
    system::keep_little();
    tokio::spawn(async {
        loop {
            tokio::time::sleep(EVERY).await;
            // It fails only when the service is stopping.
            let _ = tokio::task::spawn_blocking(system::trim).await;
        }
    })
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod system {
    use std::ffi::c_int;

    // SAFETY: as mallopt(3) and malloc_trim(3) say; they may be called at any time, by any thread.
    unsafe extern "C" {
        safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
        safe fn malloc_trim(pad: usize) -> c_int;
    }

    /// `M_TRIM_THRESHOLD`: how much may be free at the end of a place, in bytes.
    const TRIM_THRESHOLD: c_int = -1;

    /// `M_MMAP_THRESHOLD`: length from which on a block is the system's own, and goes back as soon as it is freed, in bytes.
    const MMAP_THRESHOLD: c_int = -3;

    /// Sets both, without which they grow with the blocks that are freed, up to 64 and 32 MiB.
    pub(super) fn keep_little() {
        mallopt(TRIM_THRESHOLD, 1 << 20);
        mallopt(MMAP_THRESHOLD, 1 << 20);
    }

    pub(super) fn trim() {
        malloc_trim(0);
    }
}

/// Other allocators have no such functions, or need none.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod system {
    pub(super) fn keep_little() {}

    pub(super) fn trim() {}
}
