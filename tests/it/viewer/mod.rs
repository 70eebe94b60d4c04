//! Tests of the web page.

mod finding;
mod page;
