//! What strangers and impatient readers try, and what honest clients get beside them.

mod displacing;
mod heavy_reads;
mod slow_readers;
mod strangers;
