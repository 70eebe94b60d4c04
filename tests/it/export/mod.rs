//! Tests of what leaves as a file.

mod formats;
mod understood;
