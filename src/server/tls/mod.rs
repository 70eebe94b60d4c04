//! HTTPS: the certificate that connections are answered with, from files or from a certificate authority that speaks ACME.
//!
//! Whichever it is, a new certificate takes effect for the next connection, and what cannot be used leaves the present one in
//! place, with an error in the log: a service that took turns yesterday takes them today.

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

/// The protocol by which an authority looks whether a domain leads here.
const CHALLENGE: &[u8] = b"acme-tls/1";

/// Where the certificate comes from.
#[derive(Debug)]
pub enum TlsSettings {
    /// From two files, also when they change.
    Files(Files),
    /// From an authority, also when it expires.
    Acme(AcmeSettings),
}

/// A certificate or key that cannot be used; the text says which and why, without the key.
#[derive(Debug)]
pub struct BadCertificate(String);

impl std::fmt::Display for BadCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadCertificate {}

/// HTTPS as it is served.
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
    /// Reads what there is already.
    ///
    /// # Errors
    /// Files that hold no certificate with its key, or a folder for certificates that cannot be used.
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

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What connections are answered with now.
#[derive(Debug, Default)]
struct Certificates {
    current: RwLock<Option<Arc<CertifiedKey>>>,
    /// By domain, for the authority.
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

/// A certificate chain and its key, from PEM.
fn certified(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, BadCertificate> {
    let bad = |what: &str, why: &dyn std::fmt::Display| BadCertificate(format!("the {what} cannot be used: {why}"));
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(|error| bad("certificate", &error))?;
    if chain.is_empty() {
        return Err(bad("certificate", &"there is none in it"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| bad("key", &error))?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| bad("certificate with its key", &error))
}
