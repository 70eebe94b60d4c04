//! What an attacker tries, and what must hold against it.

mod access;
mod proxies;
//! Attacks on what the service promises to keep: each is a way in which turns could be lost, doubled, misordered or damaged.

mod disk_faults;
mod failed_transaction;
mod page_kinds;

use std::path::Path;
use transcribe_hook::store::sqlite::check;

/// Asserts that `check` finds nothing wrong with a database.
#[track_caller]
fn assert_sound(database: &Path, case: &str) {
    let problems = check(database).unwrap_or_else(|error| panic!("{case}: {error}")).problems;
    assert!(problems.is_empty(), "{case}: {problems:?}");
}
//! What somebody tried who wanted to break the service, each as a test of its kind.

mod driver_erasure;
mod erasure_in_slices;
mod imported_values;
mod long_calls;
mod quarantine;
mod retention_clock;
mod terminals;
