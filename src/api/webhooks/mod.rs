//! Operations that ElevenLabs calls: turns, histories, who is calling, post-call events.

pub(super) mod history;
pub(super) mod initiation;
pub(super) mod post_call;
pub mod signed_body;
pub(super) mod turn;
