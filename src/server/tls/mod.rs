//! HTTPS: the certificate, from files or from an ACME authority.
//!
//! A new certificate is used for new connections. If it is unusable, the current one stays in use and an error is
//! logged, because the service must continue to receive turns.

mod acme;
mod dates;
mod files;

pub use acme::AcmeSettings;
pub use files::Files;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ServerConfig, ServerConnection};

/// ALPN protocol of an authority's domain verification.
const CHALLENGE: &[u8] = b"acme-tls/1";

/// Source of the certificate.
#[derive(Debug)]
pub enum TlsSettings {
    /// Two files, reloaded when they change.
    Files(Files),
    /// An ACME authority; the certificate is renewed before it expires.
    Acme(AcmeSettings),
}

/// An unusable certificate or key. The text names it and the reason, and never contains the key.
#[derive(Debug)]
pub struct BadCertificate(String);

impl std::fmt::Display for BadCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadCertificate {}

/// The HTTPS configuration in use.
#[derive(Debug)]
pub struct Tls {
    certificates: Arc<Certificates>,
    keeper: Keeper,
}

#[derive(Debug)]
enum Keeper {
    Files(files::Watch),
    Acme(Box<acme::Keeper>),
}

impl Tls {
    /// Loads the certificate that exists already.
    ///
    /// # Errors
    /// The files contain no certificate with its key, or the folder for certificates is unusable.
    pub fn open(settings: TlsSettings) -> Result<Self, BadCertificate> {
        let certificates = Arc::new(Certificates::default());
        let keeper = match settings {
            TlsSettings::Files(files) => Keeper::Files(files::Watch::open(files, &certificates)?),
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

    /// Reloads or renews the certificate, for as long as this is polled.
    pub(super) async fn keep(self) {
        match self.keeper {
            Keeper::Files(files) => files.keep(&self.certificates).await,
            Keeper::Acme(keeper) => keeper.keep(&self.certificates).await,
        }
    }
}

/// Returns true if a connection was opened only to verify the domain; it is complete after its handshake.
pub(super) fn is_challenge(connection: &ServerConnection) -> bool {
    connection.alpn_protocol() == Some(CHALLENGE)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The certificates for new connections.
#[derive(Debug, Default)]
struct Certificates {
    current: RwLock<Option<Arc<CertifiedKey>>>,
    /// Certificates for the domain verification, by domain.
    challenges: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

impl Certificates {
    fn set(&self, certificate: CertifiedKey) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(certificate));
    }

    fn set_challenge(&self, domain: &str, certificate: CertifiedKey) {
        let mut challenges = self.challenges.write().unwrap_or_else(PoisonError::into_inner);
        challenges.insert(domain.to_ascii_lowercase(), Arc::new(certificate));
    }

    fn clear_challenges(&self) {
        self.challenges.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == CHALLENGE)) {
            let challenges = self.challenges.read().unwrap_or_else(PoisonError::into_inner);
            return challenges.get(&hello.server_name()?.to_ascii_lowercase()).cloned();
        }
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Parses a certificate chain and its key, in PEM.
fn certified(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, BadCertificate> {
    let bad = |what: &str, why: &dyn std::fmt::Display| BadCertificate(format!("unusable {what}: {why}"));
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(|error| bad("certificate", &error))?;
    if chain.is_empty() {
        return Err(bad("certificate", &"the file contains none"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| bad("key", &error))?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| bad("certificate with its key", &error))
}
