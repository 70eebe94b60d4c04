//! Export and restore of rows.

pub(super) mod read;
mod restore;
mod rows;
pub(super) mod rules;

pub(super) use restore::{go_on, look_at_long_calls, restore};
