//! One batch of writes: turns, and what follows from them, in one transaction.

pub(super) mod call_cache;
pub(super) mod change_log;
pub(super) mod dedup;
pub(super) mod driver_match;
pub(super) mod reconcile;
pub(super) mod turns;
