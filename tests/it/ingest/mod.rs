//! Tests of the write path: webhooks, order, repeats, crashes.

mod concurrency;
mod crash;
mod event_bounds;
mod event_crash;
mod event_flood;
mod post_call_signed;
mod replay;
mod rereads;
mod turns;
