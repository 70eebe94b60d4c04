//! What attackers tried: each stands for its kind.

mod stall;
mod unsigned;
