//! The certificates for new connections.

use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_rustls::rustls::ServerConnection;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// ALPN protocol of an authority's domain verification.
pub(super) const CHALLENGE: &[u8] = b"acme-tls/1";

/// An unusable certificate or key. The text names it and the reason, and never contains the key.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadCertificate(pub(super) String);

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The certificates for new connections.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    current: RwLock<Option<Arc<CertifiedKey>>>,
    /// Certificates for the domain verification, by domain.
    challenges: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

impl Certificates {
    pub(super) fn set(&self, certificate: CertifiedKey) {
        *self.current.write() = Some(Arc::new(certificate));
    }

    pub(super) fn set_challenge(&self, domain: &str, certificate: CertifiedKey) {
        let mut challenges = self.challenges.write();
        challenges.insert(domain.to_ascii_lowercase(), Arc::new(certificate));
    }

    pub(super) fn clear_challenges(&self) {
        self.challenges.write().clear();
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == CHALLENGE)) {
            let challenges = self.challenges.read();
            return challenges.get(&hello.server_name()?.to_ascii_lowercase()).cloned();
        }
        self.current.read().clone()
    }
}

/// Parses a certificate chain and its key, in PEM.
pub(super) fn parse_certified_key(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, BadCertificate> {
    let bad = |what: &str, why: &dyn std::fmt::Display| BadCertificate(format!("unusable {what}: {why}"));
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(|error| bad("certificate", &error))?;
    if chain.is_empty() {
        return Err(bad("certificate", &"the file contains none"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| bad("key", &error))?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| bad("certificate with its key", &error))
}

/// Returns whether a connection was opened only to verify the domain. Such a connection is complete after its
/// handshake.
pub(in crate::server) fn is_challenge(connection: &ServerConnection) -> bool {
    connection.alpn_protocol() == Some(CHALLENGE)
}
