//! A buffered, asynchronous writer of log lines.
//!
//! Lines are buffered in memory and written to standard error by a separate thread every few milliseconds. A request
//! pays for a copy instead of a system call, and a stalled reader of the log does not block requests. The buffer is
//! bounded: lines beyond the maximum are dropped and counted, and the count is logged.

use parking_lot::{Condvar, Mutex, MutexGuard};
use std::io::{self, Write};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// Interval between writes. A killed process loses the lines of this interval.
const FLUSH_INTERVAL: Duration = Duration::from_millis(10);

/// Maximum size of the buffer, in bytes.
const MAX_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// The buffer of log lines; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct LogBuffer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<PendingLines>,
    /// Notified when the buffer is not empty any more, or on stop.
    awake: Condvar,
}

#[derive(Default)]
struct PendingLines {
    lines: Vec<u8>,
    dropped: u64,
    stop: bool,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, PendingLines> {
        // Only complete lines are added, so a panic of another thread leaves the buffer valid.
        self.waiting.lock()
    }

    /// Writes buffered lines until it is stopped, and then the remaining ones.
    fn write_until_stopped(&self) {
        let mut taken = Vec::new();
        loop {
            let mut waiting = self.waiting();
            while waiting.lines.is_empty() && !waiting.stop {
                self.awake.wait(&mut waiting);
            }
            if !waiting.stop {
                drop(waiting);
                std::thread::sleep(FLUSH_INTERVAL);
                waiting = self.waiting();
            }
            std::mem::swap(&mut taken, &mut waiting.lines);
            let (dropped, stop) = (std::mem::take(&mut waiting.dropped), waiting.stop);
            drop(waiting);
            let mut out = io::stderr().lock();
            // There is nowhere to report that standard error is closed.
            let _ = out.write_all(&taken);
            taken.clear();
            if stop {
                return;
            }
            drop(out);
            if dropped > 0 {
                tracing::warn!(dropped, "log lines dropped because standard error is read too slowly");
            }
        }
    }
}

impl LogBuffer {
    /// Starts the writer thread. Dropping the returned guard writes all lines and ends the thread.
    pub(super) fn start(&self) -> io::Result<FlushGuard> {
        let shared = self.0.clone();
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_until_stopped())?;
        Ok(FlushGuard { lines: self.clone(), thread: Some(thread) })
    }
}

impl Write for &LogBuffer {
    /// Appends a complete line, as the formatting layer provides it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.waiting();
        if waiting.lines.len() + line.len() > MAX_BUFFER_BYTES {
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

impl<'a> MakeWriter<'a> for LogBuffer {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

/// A guard that writes the last lines when dropped.
#[must_use = "without it, nothing is written"]
pub struct FlushGuard {
    lines: LogBuffer,
    thread: Option<JoinHandle<()>>,
}

impl Drop for FlushGuard {
    fn drop(&mut self) {
        self.lines.0.waiting().stop = true;
        self.lines.0.awake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was already logged.
            let _ = thread.join();
        }
    }
}
