//! The platform from this side: what its agents are told, and asking its API.
//!
//! What it sends and answers about whole conversations is read elsewhere.

pub mod client;
pub mod rehearsal;
pub mod tool;
