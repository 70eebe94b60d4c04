//! HTTPS: the certificate, from files or from an ACME authority.
//!
//! A new certificate is used for new connections. If it is unusable, the current one stays in use and an error is
//! logged, because the service must continue to receive turns.

mod acme;
mod certificates;
mod pem_files;
mod validity;

pub use acme::AcmeSettings;
pub use certificates::BadCertificate;
use certificates::{CHALLENGE, Certificates, provider};
pub use pem_files::CertificateFiles;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub use validity::fuzz_validity;

use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, ServerConnection};

/// Source of the certificate.
#[derive(Debug)]
pub enum TlsSettings {
    /// Two files, reloaded when they change.
    Files(CertificateFiles),
    /// An ACME authority; the certificate is renewed before it expires.
    Acme(AcmeSettings),
}

/// The HTTPS configuration in use.
#[derive(Debug)]
pub struct Tls {
    certificates: Arc<Certificates>,
    keeper: CertificateSource,
}

#[derive(Debug)]
enum CertificateSource {
    Files(pem_files::FileReloader),
    Acme(Box<acme::AcmeRenewer>),
}

impl Tls {
    /// Loads the certificate that exists already.
    ///
    /// # Errors
    /// The files contain no certificate with its key, or the folder for certificates is unusable.
    pub fn open(settings: TlsSettings) -> Result<Self, BadCertificate> {
        let certificates = Arc::new(Certificates::default());
        let keeper = match settings {
            TlsSettings::Files(files) => CertificateSource::Files(pem_files::FileReloader::open(files, &certificates)?),
            TlsSettings::Acme(settings) => {
                CertificateSource::Acme(Box::new(acme::AcmeRenewer::open(settings, &certificates)?))
            }
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
        if matches!(self.keeper, CertificateSource::Acme(_)) {
            config.alpn_protocols.push(CHALLENGE.to_vec());
        }
        TlsAcceptor::from(Arc::new(config))
    }

    /// Reloads or renews the certificate, for as long as this is polled.
    pub(super) async fn run(self) {
        match self.keeper {
            CertificateSource::Files(files) => files.run(&self.certificates).await,
            CertificateSource::Acme(keeper) => keeper.run(&self.certificates).await,
        }
    }
}

/// Returns true if a connection was opened only to verify the domain; it is complete after its handshake.
pub(super) fn is_challenge(connection: &ServerConnection) -> bool {
    connection.alpn_protocol() == Some(CHALLENGE)
}
