//! Tests of outgoing webhooks and alerts.

mod alerts;
mod commands;
mod crash;
mod libraries;
mod notices;
mod retries;
