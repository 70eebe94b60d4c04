//! Takes log lines without waiting for whoever reads them.
//!
//! Lines are gathered in memory and written to standard error by a thread of its own, some milliseconds' worth at a
//! time: a request pays for a copy, not for a system call, and a reader of the log that stalls does not stall requests.
//! What gathers is bounded: lines beyond the bound are dropped and counted, and the count is logged.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// How long lines gather. A process that is killed loses the lines of this time.
const GATHER: Duration = Duration::from_millis(10);

/// Greatest size of what gathers, in bytes.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// Where log lines go; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Told when there is something to do after there was nothing.
    awake: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    dropped: u64,
    stop: bool,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Whole lines are put in, so a panic elsewhere leaves nothing half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what gathers until it is told to stop, and then what is left.
    fn write_on(&self) {
        let mut taken = Vec::new();
        loop {
            let mut waiting = self.waiting();
            while waiting.lines.is_empty() && !waiting.stop {
                waiting = self.awake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            if !waiting.stop {
                drop(waiting);
                std::thread::sleep(GATHER);
                waiting = self.waiting();
            }
            std::mem::swap(&mut taken, &mut waiting.lines);
            let (dropped, stop) = (std::mem::take(&mut waiting.dropped), waiting.stop);
            drop(waiting);
            let mut out = io::stderr().lock();
            // There is nowhere else to report that standard error is gone.
            let _ = out.write_all(&taken);
            taken.clear();
            if stop {
                return;
            }
            drop(out);
            if dropped > 0 {
                tracing::warn!(dropped, "log lines were dropped: the log is read too slowly");
            }
        }
    }
}

impl Lines {
    /// Starts the thread that writes. It ends, with everything written, when the returned value goes.
    pub(super) fn start(&self) -> io::Result<Flush> {
        let shared = self.0.clone();
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_on())?;
        Ok(Flush { lines: self.clone(), thread: Some(thread) })
    }
}

impl Write for &Lines {
    /// Takes a whole line, as the formatting layer hands them over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.waiting();
        if waiting.lines.len() + line.len() > MAX_WAITING {
            waiting.dropped += 1;
            return Ok(line.len());
        }
        let was_empty = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if was_empty {
            self.0.awake.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

/// Writes the last lines when it goes.
#[must_use = "without it, nothing is written"]
pub struct Flush {
    lines: Lines,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Flush {
    fn drop(&mut self) {
        self.lines.0.waiting().stop = true;
        self.lines.0.awake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported as any other.
            let _ = thread.join();
        }
    }
}
