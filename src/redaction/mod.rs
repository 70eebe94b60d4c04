//! Redaction of personal data in text and JSON.

mod delivery;
mod email;
mod finding;
mod json;
mod numbers;
mod redactor;
mod tokens;

pub use delivery::redacted;
pub use finding::{Found, Kind};
pub use redactor::Redactor;
