//! Care for the files of an open database.

use crate::store::sqlite::archive::read::ReadOnly;
use crate::store::sqlite::connection::checkpoint::{self, Checkpoints, WalOwner};
use crate::store::sqlite::database::SqliteStore;
use crate::store::sqlite::error::Context as _;
use crate::store::sqlite::held::WriterState;
use crate::store::{Archive, Backlog, BackupSource, DatabaseSizes, Forgotten, Maintenance, Result};
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Maintenance for SqliteStore {
    fn in_place(&self) -> Result<()> {
        let writing = self.writer()?;
        let checked = self.check_place();
        if checked.is_err() && self.lock.is_some() && self.place.only_wal_is_gone() {
            checkpoint::rescue(&writing.connection);
        }
        checked
    }

    fn rest(&self) -> Result<bool> {
        self.check_place()?;
        let writing = self.writer()?;
        let index = writing.index.idle();
        let database = if self.checkpoints == Checkpoints::Own {
            checkpoint::checkpoint_truncate(&writing.connection, WalOwner::Database, self.options.busy_timeout)
        } else {
            checkpoint::warn_if_wal_large(&self.options.path);
            Ok(true)
        };
        Ok(database? & index?)
    }

    fn purge(&self, wait: Duration) -> Result<Forgotten> {
        const CONTEXT: &str = "purging erased words from the search index";
        self.check_place()?;
        let WriterState { index, connection, .. } = &mut *self.writer()?;
        connection.busy_timeout(Duration::ZERO).context(CONTEXT)?;
        let index = index.purge(connection, wait);
        connection.busy_timeout(self.options.busy_timeout).context(CONTEXT)?;
        // The database is purged even if the search index could not be.
        let database = checkpoint::purge_erased(connection, WalOwner::Database, wait, self.options.busy_timeout)?;
        Ok(if database { index? } else { index.and(Ok(Forgotten::Held))? })
    }

    fn catch_up(&self) -> Result<Backlog> {
        self.check_place()?;
        let WriterState { index, connection, .. } = &mut *self.writer()?;
        if self.index_is_broken.swap(false, Ordering::Relaxed) {
            index.discard();
        }
        // Does not wait for the write lock, because new turns would wait as well.
        connection.busy_timeout(Duration::ZERO).context("indexing turns for search")?;
        let left = index.catch_up(connection);
        connection.busy_timeout(self.options.busy_timeout).context("indexing turns for search")?;
        left
    }

    fn copier(&self) -> BackupSource {
        self.copier.clone()
    }

    fn archive(&self) -> Result<Option<Box<dyn Archive>>> {
        self.check_place()?;
        Ok(Some(Box::new(ReadOnly::open(&self.options.path)?)))
    }

    fn sizes(&self) -> io::Result<DatabaseSizes> {
        checkpoint::sizes(&self.options.path)
    }
}
