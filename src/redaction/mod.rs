//! Redaction of personal data in text and JSON.

mod delivery;
mod email;
mod finding;
mod json;
mod numbers;
mod redactor;
mod tokens;

pub use delivery::redact_body;
pub use finding::{PiiKind, RedactionCounts};
pub use redactor::Redactor;
