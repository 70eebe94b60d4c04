//! The source of the certificate: files or an ACME authority.

use super::acme::{AcmeRenewer, AcmeSettings};
use super::certificates::{BadCertificate, CHALLENGE, Certificates, provider};
use super::pem_files::{CertificateFiles, FileReloader};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

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
    source: CertificateSource,
}

#[derive(Debug)]
enum CertificateSource {
    Files(FileReloader),
    Acme(Box<AcmeRenewer>),
}

impl Tls {
    /// Loads the certificate that exists already.
    ///
    /// # Errors
    /// The files contain no certificate with its key, or the folder for certificates is unusable.
    pub fn open(settings: TlsSettings) -> Result<Self, BadCertificate> {
        let certificates = Arc::new(Certificates::default());
        let source = match settings {
            TlsSettings::Files(files) => CertificateSource::Files(FileReloader::open(files, &certificates)?),
            TlsSettings::Acme(settings) => {
                CertificateSource::Acme(Box::new(AcmeRenewer::open(settings, &certificates)?))
            }
        };
        Ok(Self { certificates, source })
    }

    pub(in crate::server) fn acceptor(&self) -> TlsAcceptor {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has what the protocol needs")
            .with_no_client_auth()
            .with_cert_resolver(self.certificates.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if matches!(self.source, CertificateSource::Acme(_)) {
            config.alpn_protocols.push(CHALLENGE.to_vec());
        }
        TlsAcceptor::from(Arc::new(config))
    }

    /// Reloads or renews the certificate, for as long as this is polled.
    pub(in crate::server) async fn run(self) {
        match self.source {
            CertificateSource::Files(files) => files.run(&self.certificates).await,
            CertificateSource::Acme(renewer) => renewer.run(&self.certificates).await,
        }
    }
}
