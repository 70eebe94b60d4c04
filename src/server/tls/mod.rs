//! HTTPS: the certificate, from files or from an ACME authority.
//!
//! A new certificate is used for new connections. If it is unusable, the current one stays in use and an error is
//! logged, because the service must continue to receive turns.

mod acme;
mod certificates;
mod pem_files;
mod source;
mod validity;

pub use acme::AcmeSettings;
pub use certificates::BadCertificate;
pub(super) use certificates::is_challenge;
pub use pem_files::CertificateFiles;
pub use source::{Tls, TlsSettings};
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub use validity::fuzz_validity;
