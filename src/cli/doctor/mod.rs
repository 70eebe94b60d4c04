//! The `doctor` command, with its checks of this machine and of the service's public address. Checks of ElevenLabs'
//! settings are in [`crate::jobs::doctor`], because `serve` makes them too.

pub(super) mod command;
mod machine;
mod public;
