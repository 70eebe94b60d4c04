//! Tests of the web page.

mod finding;
mod many;
mod page;
