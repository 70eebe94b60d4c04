//! Operations that ElevenLabs calls: turns, histories, post-call events.

pub(super) mod history;
pub(super) mod post_call;
pub mod signed_body;
pub(super) mod turn;
