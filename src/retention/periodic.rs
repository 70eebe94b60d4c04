//! Erases, again and again while the service runs, what has become old.

use super::{EraseError, Erased, Eraser, before};
use crate::store::{Outcome, Write};
use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How often it is looked for what has become old: some hundred times within the time that makes it so.
pub fn every(older_than: Duration) -> Duration {
    (older_than / 100).clamp(Duration::from_secs(1), Duration::from_hours(1))
}

/// A thread that erases; it ends after the change under way when this is dropped.
#[derive(Debug)]
pub struct Periodic {
    _end: Sender<()>,
}

impl Periodic {
    /// Erases what is older than this now, and then again and again.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start<W>(older_than: Duration, work: Eraser<W>) -> io::Result<Self>
    where
        W: Fn(Write) -> Result<Outcome, EraseError> + Send + 'static,
    {
        let (end, ended) = channel::<()>();
        std::thread::Builder::new().name("retention".to_owned()).spawn(move || {
            loop {
                run(older_than, &work);
                if ended.recv_timeout(every(older_than)) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { _end: end })
    }
}

fn run<W: Fn(Write) -> Result<Outcome, EraseError>>(older_than: Duration, work: &Eraser<W>) {
    // Before all time nothing is old.
    let Some(before) = before(older_than) else { return };
    match work.prune(before, |_| ()) {
        Ok(erased) if erased == Erased::default() => {}
        Ok(Erased { calls, turns, events, dispatches, .. }) => {
            tracing::info!(calls, turns, events, dispatches, %before, "erased what was kept for long enough");
        }
        Err(error) => tracing::warn!(%error, "what is old could not be erased; it will be tried again"),
    }
}
