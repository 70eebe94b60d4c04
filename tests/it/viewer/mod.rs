//! Tests of the web page.

mod alerts;
mod finding;
mod many;
mod page;
mod screenshots;
