//! Checks of ElevenLabs' settings: whether post-call events reach this service, and what to do if not.
//!
//! `doctor` makes them on request, and `serve` each hour ([`watch`]). The other checks of the command are in
//! `cli::doctor`.

pub mod diagnosis;
pub mod repair;
pub mod watch;
