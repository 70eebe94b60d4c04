//! Outgoing webhooks: signed notices about calls to other programs, by the Standard Webhooks specification
//! (<https://www.standardwebhooks.com>).
//!
//! - **Source.** A transaction that changes calls stores its notices too (`store::sqlite::outgoing`). Nothing is sent
//!   that was not committed, and `kill -9` loses nothing: what was sent since the last stored outcome is sent again,
//!   with the same `webhook-id`.
//! - **Threads.** Each endpoint has a thread of its own ([`worker`]), so a slow receiver delays neither another one nor
//!   the writer. A thread holds at most some dozen notices in memory, however many wait in the database.
//! - **Order.** Notices of a call are sent in the order of their commits. While one waits for a retry, later ones of
//!   the call wait behind it, and those of other calls go on.
//! - **Content.** A notice is thin: ids, states and numbers. The call is read when the notice is sent. Words of the
//!   call, its title and summary, and the driver's name only leave with `--webhook-words`.
//! - **Addresses.** Endpoints are configured by flags only, so no client of the API can make the service send requests.

mod endpoint;
mod endpoint_url;
mod notice_body;
mod retry_schedule;
mod sender;
mod settings;
mod shared;
mod signing_key;
mod webhooks;
mod worker;

pub use endpoint::{EndpointReport, LastAttempt};
pub use endpoint_url::EndpointUrl;
pub use sender::Answer;
pub use settings::OutgoingSettings;
pub use signing_key::SigningKey;
pub use webhooks::{TestError, Webhooks};
