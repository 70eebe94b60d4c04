//! Erasure of a driver by a running service.

use super::eraser::{EraseCounts, Eraser};
use super::error::EraseError;
use crate::domain::{DriverId, Identity};
use crate::ingest::Writer;
use crate::ingest::blocking::BlockingWriter;
use crate::jobs::access_log::AccessLog;
use crate::recordings::Recordings;
use crate::store::{OtherWriters, Store};
use std::io;
use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot};

/// Erasure of drivers, one at a time, because it reads and writes for a long time.
pub struct DriverErasure {
    store: Arc<dyn Store>,
    recordings: Option<Recordings>,
    writer: Writer,
    log: AccessLog,
    permit: Arc<Semaphore>,
}

/// Reason why a driver was not erased completely.
#[derive(Debug, thiserror::Error)]
pub enum DriverErasureError {
    /// Another driver is being erased.
    #[error("another driver is being erased")]
    Busy,
    /// No thread could be started.
    #[error("{0}")]
    Thread(io::Error),
    /// The thread panicked.
    #[error("the thread that erases a driver panicked")]
    Panicked,
    /// Something could not be erased; repeating the erasure continues it.
    #[error("{error}")]
    Failed {
        /// The driver.
        driver: DriverId,
        /// Items that were erased before the failure.
        erased: EraseCounts,
        /// The failure.
        error: EraseError,
    },
}

impl DriverErasure {
    /// Creates the erasure in a store.
    pub fn new(store: Arc<dyn Store>, recordings: Option<Recordings>, writer: Writer, log: AccessLog) -> Self {
        Self { store, recordings, writer, log, permit: Arc::new(Semaphore::new(1)) }
    }

    /// Erases a driver with calls and dispatches on a separate thread, and notes each erased call in the access log, if
    /// it is on, as an access of `by`. Dropping the future does not cancel it. Returns the numbers of erased items, all
    /// 0 if the driver does not exist.
    ///
    /// # Errors
    /// See [`DriverErasureError`].
    pub async fn erase(&self, driver: DriverId, by: Option<Identity>) -> Result<EraseCounts, DriverErasureError> {
        let permit = self.permit.clone().try_acquire_owned().map_err(|_| DriverErasureError::Busy)?;
        let executor = Box::new(BlockingWriter::new(self.writer.clone()));
        let work = Eraser::new(&self.store, self.recordings.clone(), executor, OtherWriters::Some);
        let work = work.noted_by(by.filter(|_| self.log.is_enabled()));
        let (sender, receiver) = oneshot::channel();
        let erase = move || {
            let mut erased = EraseCounts::default();
            let ended = work.driver(driver, &mut erased, |_| ());
            let EraseCounts { calls, dispatches, events, unproven, .. } = erased;
            let driver_id = driver.get();
            match &ended {
                _ if erased.is_empty() => {}
                Ok(()) => tracing::info!(driver_id, calls, dispatches, events, unproven, "erased driver"),
                Err(error) => tracing::warn!(
                    driver_id, calls, dispatches, events, unproven, %error,
                    "erased a part of the driver's data; repeating the erasure continues it"
                ),
            }
            drop(permit);
            // Fails if the request was dropped meanwhile.
            let _ = sender.send((ended, erased));
        };
        std::thread::Builder::new().name("erase-driver".to_owned()).spawn(erase).map_err(DriverErasureError::Thread)?;
        let (ended, erased) = receiver.await.map_err(|_| DriverErasureError::Panicked)?;
        match ended {
            Ok(()) => Ok(erased),
            Err(error) => Err(DriverErasureError::Failed { driver, erased, error }),
        }
    }
}
