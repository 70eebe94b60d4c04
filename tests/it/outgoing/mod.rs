//! Tests of outgoing webhooks.

mod commands;
mod crash;
mod libraries;
mod notices;
mod retries;
