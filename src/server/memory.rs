//! Gives memory that is free back to the system.
//!
//! glibc's allocator keeps what a thread freed for the next time, in up to eight places for each core: after ten minutes of
//! everything at once 38 MB were held and 10 used. With fewer places it would keep less, and the threads that store turns
//! would wait for one another.
#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "no crate that is here anyway has this function")
)]

use std::time::Duration;
use tokio::task::JoinHandle;

/// How often.
const EVERY: Duration = Duration::from_secs(10);

/// Gives free memory back again and again, until the task is aborted.
pub(super) fn give_back() -> JoinHandle<()> {
    tokio::spawn(async {
        loop {
            tokio::time::sleep(EVERY).await;
            // It fails only when the service is stopping.
            let _ = tokio::task::spawn_blocking(trim).await;
        }
    })
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    use std::ffi::c_int;
    // SAFETY: as malloc_trim(3) says; it may be called at any time, by any thread.
    unsafe extern "C" {
        safe fn malloc_trim(pad: usize) -> c_int;
    }
    malloc_trim(0);
}

/// Other allocators have no such function, or need none.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}
