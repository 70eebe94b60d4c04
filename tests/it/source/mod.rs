//! Tests of the source code itself: layers, circles, how files are written.

mod imports;
mod tidy;
