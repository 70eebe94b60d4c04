//! HTTPS: the certificate that connections are answered with, from files or from a certificate authority that speaks ACME.
//!
//! Whichever it is, a new certificate takes effect for the next connection, and what cannot be used leaves the present one in
//! place, with an error in the log: a service that took turns yesterday takes them today.

mod acme;
mod certificates;
mod pem_files;
mod validity;

pub use acme::AcmeSettings;
pub use certificates::BadCertificate;
use certificates::{CHALLENGE, Certificates, provider};
pub use pem_files::Files;

use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, ServerConnection};

/// Where the certificate comes from.
#[derive(Debug)]
pub enum TlsSettings {
    /// From two files, also when they change.
    Files(Files),
    /// From an authority, also when it expires.
    Acme(AcmeSettings),
}

/// HTTPS as it is served.
#[derive(Debug)]
pub struct Tls {
    certificates: Arc<Certificates>,
    keeper: Keeper,
}

#[derive(Debug)]
enum Keeper {
    Files(pem_files::Watch),
    Acme(Box<acme::Keeper>),
}

impl Tls {
    /// Reads what there is already.
    ///
    /// # Errors
    /// Files that hold no certificate with its key, or a folder for certificates that cannot be used.
    pub fn open(settings: TlsSettings) -> Result<Self, BadCertificate> {
        let certificates = Arc::new(Certificates::default());
        let keeper = match settings {
            TlsSettings::Files(files) => Keeper::Files(pem_files::Watch::open(files, &certificates)?),
            TlsSettings::Acme(settings) => Keeper::Acme(Box::new(acme::Keeper::open(settings, &certificates)?)),
        };
        Ok(Self { certificates, keeper })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has what the protocol needs")
            .with_no_client_auth()
            .with_cert_resolver(self.certificates.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if matches!(self.keeper, Keeper::Acme(_)) {
            config.alpn_protocols.push(CHALLENGE.to_vec());
        }
        TlsAcceptor::from(Arc::new(config))
    }

    /// Keeps the certificate new, for as long as this is polled.
    pub(super) async fn keep(self) {
        match self.keeper {
            Keeper::Files(files) => files.keep(&self.certificates).await,
            Keeper::Acme(keeper) => keeper.keep(&self.certificates).await,
        }
    }
}

/// Whether a connection was opened to see that the domain leads here, and is done with its handshake.
pub(super) fn is_challenge(connection: &ServerConnection) -> bool {
    connection.alpn_protocol() == Some(CHALLENGE)
}
