//! The write path: the queue, the writer, and what becomes of events.

pub mod blocking;
pub mod direct_erasure;
pub mod event;
pub mod executor;
pub mod file_watch;
pub mod index_schedule;
mod job;
pub mod post_call;
pub mod purge_schedule;
pub mod reconciler;
pub mod reread;
pub mod slices;
mod start;
mod writer;
mod writer_thread;

pub use job::{WriteError, WriterLimits};
pub use writer::Writer;
pub use writer_thread::WriterThread;
