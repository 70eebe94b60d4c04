//! The `doctor` command, and what it looks at.

pub(super) mod command;
mod machine;
mod public;
