//! Erasure of long calls by a command, which has no writer thread.

use super::executor::{Executor, StoreWriter};
use super::job::WriteError;
use crate::domain::Timestamp;
use crate::store::{Commands, OtherWriters, Result, Store, Unfinished, Write, Written};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pause after each slice while a service also writes, as a multiple of the slice's duration.
const PAUSE_FACTOR: u32 = 4;

/// Maximum pause after a slice.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// An executor that erases a long call to its end, as a service's writer does.
pub struct SliceEraser {
    writer: StoreWriter,
    others: OtherWriters,
}

impl SliceEraser {
    /// Creates an executor on a store.
    pub fn new(store: Arc<dyn Store>, others: OtherWriters) -> Self {
        Self { writer: StoreWriter(store), others }
    }
}

impl Executor for SliceEraser {
    fn execute_write(&self, write: Write) -> Result<Written, WriteError> {
        let call = match &write {
            Write::EraseCall(id) | Write::PruneCall(id, _) => Some(id.clone()),
            _ => None,
        };
        let written = self.writer.execute_write(write)?;
        if let (Written::Begun, Some(id)) = (&written, call) {
            erase_slices(&*self.writer.0, Unfinished::Call(&id), self.others)?;
        }
        Ok(written)
    }
}

/// Erases the remaining rows of unfinished calls in slices, with pauses for other writers.
///
/// # Errors
/// See [`Commands::continue_erasing`].
pub fn erase_slices(store: &(impl Commands + ?Sized), which: Unfinished<'_>, others: OtherWriters) -> Result<()> {
    loop {
        let start = Instant::now();
        // The service may have erased the last slice.
        if store.continue_erasing(Timestamp::now(), which)?.is_none() {
            return Ok(());
        }
        if others == OtherWriters::Some {
            std::thread::sleep((start.elapsed() * PAUSE_FACTOR).min(MAX_PAUSE));
        }
    }
}
