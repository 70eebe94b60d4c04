//! Checks of ElevenLabs' settings: whether post-call events reach this service, and what to do if not.

pub mod diagnosis;
pub mod repair;
pub mod watch;
