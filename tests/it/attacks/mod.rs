//! What somebody tried who wanted to break the service, each as a test of its kind.

mod erasure_in_slices;
mod long_calls;
