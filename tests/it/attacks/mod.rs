//! What somebody tried who wanted to break the service, each as a test of its kind.

mod driver_erasure;
mod erasure_in_slices;
mod imported_values;
mod long_calls;
mod quarantine;
mod retention_clock;
mod terminals;
