//! Low priority for long work, such as copying a database or exporting calls.
//!
//! The thread gets a low priority, and pauses for as long as it works. The pauses help where the operating system
//! ignores priorities (for example between containers), and for disk and memory, which have none.
//!
//! Work that nothing waits for runs in Linux's idle class. The lowest `nice` value is not enough for it: a thread that
//! wakes up still waits until the other thread's time slice of some milliseconds ends. A thread in the idle class may
//! never run on a busy machine, so work that others wait for uses `nice` instead. An example is a database copy,
//! because the WAL grows until it ends.

use std::time::{Duration, Instant};

/// Maximum length of a pause, so that a request to stop is noticed soon.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// Minimum time of work before a pause.
const MIN_WORK: Duration = Duration::from_millis(4);

/// A throttle that alternates work and pauses.
#[derive(Debug)]
pub struct Background {
    since: Instant,
}

impl Background {
    /// Moves this thread to the idle class for good: it runs only while no other thread wants a processor. For work
    /// that nothing else waits for.
    pub fn begin() -> Self {
        // `nice` would not suffice, see the module. If the class is unavailable, the pauses remain.
        #[cfg(target_os = "linux")]
        let _ = thread_priority::set_thread_priority_and_policy(
            thread_priority::thread_native_id(),
            thread_priority::ThreadPriority::Min,
            thread_priority::ThreadSchedulePolicy::Normal(thread_priority::NormalThreadSchedulePolicy::Idle),
        );
        Self { since: Instant::now() }
    }

    /// Gives this thread the lowest `nice` value. For work that others depend on, because the thread makes progress
    /// even on a fully loaded machine.
    pub fn that_ends() -> Self {
        let _ = rustix::process::nice(19);
        Self { since: Instant::now() }
    }

    /// Gives this thread a moderate `nice` value. For work that somebody waits for, but which may be slower than
    /// requests.
    pub fn that_is_awaited() -> Self {
        let _ = rustix::process::nice(5);
        Self { since: Instant::now() }
    }

    /// Pauses for as long as the thread has worked since the last pause.
    pub fn pause(&mut self) {
        let worked = self.since.elapsed();
        if worked >= MIN_WORK {
            std::thread::sleep(worked.min(MAX_PAUSE));
            self.since = Instant::now();
        }
    }
}

/// Lowers the priority of this thread for good. For long work that somebody waits for, so that short work does not
/// queue behind it.
pub fn step_back() {
    let _ = rustix::process::nice(5);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the calling thread's policy and `nice` value, which are fields 41 and 19 of its status in proc(5).
    fn class() -> (u32, i32) {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let behind_the_name: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        (behind_the_name[41 - 3].parse().unwrap(), behind_the_name[19 - 3].parse().unwrap())
    }

    fn class_after(begin: fn() -> Background) -> (u32, i32) {
        let work = move || {
            begin();
            class()
        };
        std::thread::spawn(work).join().unwrap()
    }

    #[test]
    fn work_that_holds_nothing_up_is_of_the_idle_class_and_other_work_goes_last() {
        const IDLE: u32 = 5;
        let (policy, nice) = class();
        assert_eq!(class_after(Background::begin), (IDLE, nice));
        assert_eq!(class_after(Background::that_ends), (policy, 19));
        assert_eq!(class(), (policy, nice), "the thread that had it done stays as it was");
    }
}
