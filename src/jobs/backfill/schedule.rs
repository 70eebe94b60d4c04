//! Fetches, again and again while the service runs, the calls that began here and whose end did not come.

use super::run::{BackfillError, Keeper, these};
use crate::domain::ConversationId;
use crate::elevenlabs::client::Client;
use std::collections::HashSet;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Where calls are kept that may lack their end.
pub trait Unfinished: Keeper {
    /// The calls that began lately and have no record of the platform; at most a few thousand.
    ///
    /// # Errors
    /// What hinders reading, for a person.
    fn unfinished(&self) -> Result<Vec<ConversationId>, String>;
}

/// A thread that fetches; it ends after the request under way when this is dropped.
#[derive(Debug)]
pub struct Periodic {
    _end: Sender<()>,
}

impl Periodic {
    /// Fetches now, and then whenever so much time has passed.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start(every: Duration, client: Client, keeper: impl Unfinished + Send + 'static) -> io::Result<Self> {
        let (end, ended) = channel::<()>();
        std::thread::Builder::new().name("backfill".to_owned()).spawn(move || {
            let mut unknown = HashSet::new();
            loop {
                run(&client, &keeper, &mut unknown);
                if ended.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { _end: end })
    }
}

/// Greatest number of calls that are remembered as unknown to the platform.
const MAX_UNKNOWN: usize = 10_000;

/// `unknown` are calls that the platform does not know, of which each is asked for once.
fn run(client: &Client, keeper: &dyn Unfinished, unknown: &mut HashSet<ConversationId>) {
    let asked = keeper.unfinished().map_err(BackfillError::Store).and_then(|mut calls| {
        calls.retain(|call| !unknown.contains(call));
        these(client, keeper, &calls)
    });
    match asked {
        Ok(report) => {
            if report.fetched > 0 || !report.failed.is_empty() {
                let failed = report.failed.len();
                tracing::info!(fetched = report.fetched, failed, "fetched the ends of calls from the platform");
            }
            if unknown.len() > MAX_UNKNOWN {
                unknown.clear();
            }
            unknown.extend(report.unknown);
        }
        Err(error) => tracing::warn!(%error, "the ends of calls could not be fetched from the platform"),
    }
}
