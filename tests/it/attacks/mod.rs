//! Attempts to break the service, each as a test of its kind: turns lost, doubled, misordered or damaged, senders kept
//! out, calls read by others.

mod access;
mod disk_faults;
mod displacing;
mod driver_erasure;
mod erasure_in_slices;
mod failed_transaction;
mod heavy_reads;
mod imported_values;
mod long_calls;
mod page_kinds;
mod proxies;
mod quarantine;
mod retention_clock;
mod slow_readers;
mod stall;
mod strangers;
mod terminals;
mod unsigned;
