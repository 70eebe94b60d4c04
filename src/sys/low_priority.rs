//! Long work in the background that is not to be in the way of what others wait for.
//!
//! The thread that does it asks the system to go last, and pauses as long as it works: where the system does not know
//! about priorities, between sessions or containers for example, and for disk and memory, for which it has none.

use std::time::{Duration, Instant};

/// Longest pause at once, so that who wants the work to stop does not wait.
const LONGEST: Duration = Duration::from_millis(100);

/// Shortest work that is worth a pause.
const SHORTEST: Duration = Duration::from_millis(4);

/// Keeps count of work and pauses.
#[derive(Debug)]
pub struct Background {
    since: Instant,
}

impl Background {
    /// Begins work on this thread, which from here on has a processor only while nobody else wants it; there is no way back.
    /// For work that holds nothing up that others need, or only for moments.
    pub fn begin() -> Self {
        // To go last as `nice` means it is not enough: who wakes up waits until the one that goes last has had its three
        // milliseconds or so. Refused or not known, the pauses remain.
        #[cfg(target_os = "linux")]
        let _ = thread_priority::set_thread_priority_and_policy(
            thread_priority::thread_native_id(),
            thread_priority::ThreadPriority::Min,
            thread_priority::ThreadSchedulePolicy::Normal(thread_priority::NormalThreadSchedulePolicy::Idle),
        );
        Self { since: Instant::now() }
    }

    /// Begins work that holds something up, and so must come to its end on a machine that is never idle too: the thread
    /// goes last, but gets its turn.
    pub fn that_ends() -> Self {
        let _ = rustix::process::nice(19);
        Self { since: Instant::now() }
    }

    /// Begins work on this thread that somebody waits for, if not for long: others come first, but it gets its share.
    pub fn that_is_awaited() -> Self {
        let _ = rustix::process::nice(5);
        Self { since: Instant::now() }
    }

    /// Pauses as long as was worked since the last pause.
    pub fn pause(&mut self) {
        let worked = self.since.elapsed();
        if worked >= SHORTEST {
            std::thread::sleep(worked.min(LONGEST));
            self.since = Instant::now();
        }
    }
}

/// Has this thread get less of a busy machine than others, for good. For work that somebody waits for, but which is so much
/// that what is done in a moment must not queue behind it.
pub fn step_back() {
    let _ = rustix::process::nice(5);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The calling thread's policy and `nice` value, by proc(5): fields 41 and 19 of its status.
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
