//! Groups of flags that commands share.

pub(super) mod access;
pub(super) mod alerts;
pub(super) mod backup_schedule;
pub(super) mod call_filter;
pub(super) mod connections;
pub(super) mod database;
pub(super) mod elevenlabs;
pub(super) mod environment;
pub(super) mod event_options;
pub(super) mod input;
pub(super) mod listen;
pub(super) mod live;
pub(super) mod logging;
pub(super) mod metrics;
pub(super) mod outgoing;
pub(super) mod post_call;
pub(super) mod redaction;
pub(super) mod retention;
pub(super) mod secrets;
pub(super) mod service_url;
pub(super) mod tls;
pub(super) mod token_file;
pub(super) mod url_values;
pub(super) mod values;
