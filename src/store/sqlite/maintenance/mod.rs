//! Copies, checks, upkeep, and replacing a database.

pub(super) mod backup;
pub(super) mod check;
pub(super) mod replace;
mod upkeep;
