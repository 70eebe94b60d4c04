//! Entry points for the fuzz targets in `fuzz/`, which cannot see private functions.

use super::connection::page_scrub;
use super::search::fts_query;
use crate::domain::SearchExpr;
use std::ops::Range;

/// Returns the part of a page that would be zeroed.
pub fn unused_range(page: &[u8], at: u64, file_bytes: Option<u64>) -> Option<Range<usize>> {
    page_scrub::unused_range(page, at, || file_bytes)
}

/// Returns the FTS5 query of a search expression.
pub fn fts_query(wanted: &SearchExpr) -> String {
    fts_query::render_literal(wanted)
}
