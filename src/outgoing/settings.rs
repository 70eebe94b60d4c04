//! Settings of outgoing webhooks.

use super::endpoint_url::EndpointUrl;
use super::signing_key::SigningKey;
use crate::domain::NoticeType;
use std::time::Duration;

/// Settings of outgoing webhooks.
#[derive(Debug, Clone, Default)]
pub struct OutgoingSettings {
    /// The endpoints.
    pub urls: Vec<EndpointUrl>,
    /// Keys that sign each notice.
    pub keys: Vec<SigningKey>,
    /// Types of notices that are sent.
    pub types: Vec<NoticeType>,
    /// True if titles, summaries and names of drivers are sent too.
    pub words: bool,
    /// URL at which others reach this service, without a slash at the end.
    pub public_url: Option<String>,
    /// Pause before the first retry. Later pauses grow with it.
    pub retry_pause: Duration,
}
