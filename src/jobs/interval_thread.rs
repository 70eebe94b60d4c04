//! A thread that repeats some work at an interval, while the service runs.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A thread that repeats some work. Dropping the handle stops the thread after its current run, without waiting for
/// that run.
#[derive(Debug)]
pub struct IntervalThread {
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl IntervalThread {
    /// Starts a thread that calls `work` after `pause`, and again after each pause that `work` returns.
    ///
    /// # Errors
    /// The operating system could not create the thread.
    pub fn start(
        name: &str,
        mut pause: Duration,
        mut work: impl FnMut() -> Duration + Send + 'static,
    ) -> io::Result<Self> {
        let (end, ended) = channel::<()>();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                pause = work();
            }
        })?;
        Ok(Self { end, thread })
    }

    /// Stops the thread after its current run, and waits for that run.
    pub fn join(self) {
        drop(self.end);
        // A panic of the thread was already logged.
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    #[test]
    fn work_is_repeated_after_the_pause_that_it_returns_and_ends_with_its_handle() {
        let (ran, runs) = channel();
        let pauses = [Duration::ZERO, Duration::from_millis(2), Duration::from_hours(1)];
        let mut left = pauses.into_iter();
        let thread = IntervalThread::start("repeats", Duration::from_millis(1), move || {
            ran.send(Instant::now()).unwrap();
            left.next().expect("the last pause outlasts the test")
        });
        let times: Vec<_> = (0..3).map(|_| runs.recv().unwrap()).collect();
        assert!(times[2] - times[1] >= pauses[1], "{times:?}");
        // The thread is in the pause of an hour, and its work is dropped when it ends.
        drop(thread.unwrap());
        assert!(runs.recv().is_err());
    }

    #[test]
    fn joining_waits_for_the_current_run() {
        let done = Arc::new(AtomicUsize::new(0));
        let (began, starts) = channel();
        let (release, released) = channel::<()>();
        let counted = done.clone();
        let thread = IntervalThread::start("joined", Duration::ZERO, move || {
            began.send(()).unwrap();
            let _ = released.recv();
            counted.fetch_add(1, Ordering::Release);
            Duration::from_hours(1)
        })
        .unwrap();
        starts.recv().unwrap();
        drop(release);
        thread.join();
        assert_eq!(done.load(Ordering::Acquire), 1);
    }
}
