//! Exports calls in several formats.
//!
//! Calls are written one by one, in the order of their creation, each from one snapshot. While its snapshot is open, a
//! call is spooled to memory or, if it is long, to an unnamed file, and sent from there. So neither a slow reader nor a
//! long export holds a read transaction open, and memory is bounded, regardless of the number and length of the calls.

mod call_rows;
mod calls;
mod error;
mod form;
mod format;
mod rows;
mod subtitles;
mod transcript;

pub use calls::{ExportCounts, export};
pub use error::ExportError;
pub use format::{ExportForm, ExportFormat};
pub use rows::{MAX_LINE, archived};
