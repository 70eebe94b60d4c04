//! Export and restore of rows.

pub(super) mod read;
mod restore;
mod rows;
pub(super) mod rules;

pub(super) use restore::{check_long_calls, restore, restore_next_slice};
