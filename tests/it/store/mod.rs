//! Tests of the database: its contract, its file, search, erasure, faults and power cuts.

mod clock_and_readers;
mod contract;
mod displaced;
mod equal_copies;
mod erased_words;
mod erasure;
mod faults;
mod files;
mod full_disk;
mod migration_crash;
mod powercut;
mod read_only;
mod restore;
mod schema;
mod search;
mod search_file;
mod search_index;
