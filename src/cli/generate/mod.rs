//! The `generate` command: prints files that are generated from the program itself, without a database.

pub(super) mod command;
mod flag_table;
mod man_pages;
mod systemd_unit;

pub(super) use flag_table::configuration_table;
