//! The web page for reading calls: an HTML shell and plain ES modules that use only the public API.
//!
//! The browser renders it, because a live page needs client code anyway: it follows running calls, keeps its position
//! in a list, and knows the reader's time zone. The API is the only source of data. The page itself contains no data of
//! calls, so it needs no permission; a reader without access gets a page that says so.
//!
//! This module owns the files, which are compressed on first use; their names, which contain a digest so that browsers
//! can cache them forever; and the content security policy. The policy forbids files from elsewhere, inline scripts,
//! and HTML that is parsed from text. Each file describes itself at its top; start with `assets/main.js`.

mod agent_setup;
mod assets;
mod layer;

pub use layer::{PATHS, layer};
