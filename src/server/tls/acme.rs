//! A certificate from an ACME authority (RFC 8555) such as Let's Encrypt, with automatic renewal.
//!
//! The authority verifies the domain by a TLS handshake with the service itself (TLS-ALPN-01, RFC 8737), so no other
//! port is needed. The account and the certificate are stored in a folder, so a restart requests nothing. If the
//! authority is unavailable, the service continues with its current certificate.

use super::certificates::{BadCertificate, Certificates, parse_certified_key, provider};
use super::validity;
use crate::domain::Timestamp;
use crate::sys::atomic_file;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Error, HttpClient,
    Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::sign::CertifiedKey;
use ureq::http::{Method, Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Settings of the ACME authority and the certificate.
#[derive(Debug, Clone)]
pub struct AcmeSettings {
    /// Domain names of the certificate.
    pub domains: Vec<String>,
    /// Folder for the account and the certificate; it is created if it does not exist.
    pub cache: PathBuf,
    /// URL of the authority's directory.
    pub directory: String,
    /// E-mail address at which the authority can reach the operator.
    pub contact: Option<String>,
    /// PEM root certificate of the authority's server, in place of the commonly trusted ones.
    pub roots: Option<Vec<u8>>,
}

/// Delay before the first retry. Authorities limit failures per hour.
const MIN_RETRY_DELAY: Duration = Duration::from_mins(1);

/// Maximum delay between two retries.
const MAX_RETRY_DELAY: Duration = Duration::from_hours(2);

/// Interval between two checks for a due renewal.
const RENEWAL_CHECK_INTERVAL: Duration = Duration::from_hours(1);

/// Polling of an order's status: initial delay and timeout.
const POLL_POLICY: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).timeout(Duration::from_mins(2));

#[derive(Debug)]
pub(super) struct AcmeRenewer {
    settings: AcmeSettings,
    agent: ureq::Agent,
    until: Option<validity::Validity>,
}

/// A stored certificate.
#[derive(Serialize, Deserialize)]
struct CachedCertificate {
    directory: String,
    domains: Vec<String>,
    certificate: String,
    key: String,
}

/// A stored account.
#[derive(Serialize, Deserialize)]
struct SavedAccount {
    directory: String,
    credentials: AccountCredentials,
}

impl AcmeRenewer {
    pub(super) fn open(settings: AcmeSettings, certificates: &Certificates) -> Result<Self, BadCertificate> {
        let bad = |why: &dyn std::fmt::Display| BadCertificate(format!("{}: {why}", settings.cache.display()));
        crate::sys::files::create_folder(&settings.cache).map_err(|error| bad(&error))?;
        // Checks now that the folder is writable, because a failure after the certificate was issued would waste it.
        tempfile::NamedTempFile::new_in(&settings.cache).map_err(|error| bad(&error))?;
        let roots = match &settings.roots {
            Some(pem) => {
                let root = Certificate::from_pem(pem).map_err(|error| BadCertificate(format!("--acme-ca: {error}")))?;
                RootCerts::new_with_certs(&[root])
            }
            None => RootCerts::WebPki,
        };
        let agent = ureq::Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into();
        let mut renewer = Self { settings, agent, until: None };
        match renewer.cached() {
            Ok(Some(kept)) => renewer.install(&kept, certificates)?,
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "stored certificate unusable; requesting another one"),
        }
        Ok(renewer)
    }

    /// Returns the stored certificate, if it has the configured directory and domains.
    fn cached(&self) -> io::Result<Option<CachedCertificate>> {
        let kept: Option<CachedCertificate> = read(&self.settings.cache.join(CERTIFICATE))?;
        Ok(kept.filter(|kept| kept.directory == self.settings.directory && kept.domains == self.settings.domains))
    }

    fn install(&mut self, kept: &CachedCertificate, certificates: &Certificates) -> Result<(), BadCertificate> {
        let certificate = parse_certified_key(kept.certificate.as_bytes(), kept.key.as_bytes())?;
        validity::warn_if_expired(&certificate);
        self.until = validity::parse_validity(&certificate);
        certificates.set(certificate);
        Ok(())
    }

    /// Returns true if there is no certificate, or if less than a third of its lifetime is left.
    fn is_due(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|dates| now.unix_micros() >= dates.renewal_due())
    }

    /// Returns the time until the next check for a renewal. It is limited, because the clock may be set meanwhile.
    fn until_due(&self, now: Timestamp) -> Duration {
        let Some(dates) = self.until else { return RENEWAL_CHECK_INTERVAL };
        let micros = dates.renewal_due().saturating_sub(now.unix_micros());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0)).clamp(Duration::from_secs(1), RENEWAL_CHECK_INTERVAL)
    }

    pub(super) async fn run(mut self, certificates: &Certificates) {
        let mut delay = MIN_RETRY_DELAY;
        loop {
            let mut failed = None;
            if self.is_due(Timestamp::now()) {
                let obtained = self.obtain(certificates).await;
                certificates.clear_challenges();
                match obtained {
                    Ok(()) => {
                        delay = MIN_RETRY_DELAY;
                        let until = self.until.map(|dates| dates.until.to_string());
                        tracing::info!(domains = ?self.settings.domains, until, "certificate obtained");
                    }
                    Err(error) => {
                        tracing::error!(%error, retry_in = ?delay, "cannot obtain certificate; retrying");
                        failed = Some(delay);
                        delay = (delay * 2).min(MAX_RETRY_DELAY);
                    }
                }
            }
            tokio::time::sleep(failed.unwrap_or_else(|| self.until_due(Timestamp::now()))).await;
        }
    }

    async fn obtain(&mut self, certificates: &Certificates) -> Result<(), Error> {
        let account = self.account().await?;
        let names: Vec<_> = self.settings.domains.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&names)).await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let domain = authorization.identifier().to_string();
            let mut challenge = authorization
                .challenge(ChallengeType::TlsAlpn01)
                .ok_or(Error::Str("the authority does not offer TLS-ALPN-01"))?;
            let answer = challenge_certificate(&domain, challenge.key_authorization().digest().as_ref())?;
            certificates.set_challenge(&domain, answer);
            challenge.set_ready().await?;
        }
        if order.poll_ready(&POLL_POLICY).await? != OrderStatus::Ready {
            return Err(refusal_reason(&mut order).await);
        }
        let key = order.finalize().await?;
        let certificate = order.poll_certificate(&POLL_POLICY).await?;
        let AcmeSettings { directory, domains, .. } = &self.settings;
        let kept = CachedCertificate { directory: directory.clone(), domains: domains.clone(), certificate, key };
        self.install(&kept, certificates).map_err(|error| Error::Other(error.into()))?;
        write(&self.settings.cache.join(CERTIFICATE), &kept).map_err(|error| Error::Other(error.into()))
    }

    /// Returns the stored account, or creates one.
    async fn account(&self) -> Result<Account, Error> {
        let path = self.settings.cache.join("account.json");
        let builder = Account::builder_with_http(Box::new(UreqTransport(self.agent.clone())));
        let kept: Option<SavedAccount> = read(&path).map_err(|error| Error::Other(error.into()))?;
        if let Some(kept) = kept.filter(|kept| kept.directory == self.settings.directory) {
            return builder.from_credentials(kept.credentials).await;
        }
        let contact = self.settings.contact.as_ref().map(|address| format!("mailto:{address}"));
        let contact: Vec<_> = contact.iter().map(String::as_str).collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let directory = self.settings.directory.clone();
        let (account, credentials) = builder.create(&new, directory.clone(), None).await?;
        write(&path, &SavedAccount { directory, credentials }).map_err(|error| Error::Other(error.into()))?;
        Ok(account)
    }
}

const CERTIFICATE: &str = "certificate.json";

/// Returns the authority's reason for a failed authorization.
async fn refusal_reason(order: &mut instant_acme::Order) -> Error {
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let failed = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = failed {
            let domain = authorization.identifier();
            return Error::Other(format!("the authority could not verify the domain {domain}: {problem}").into());
        }
    }
    Error::Str("the authority refused the order")
}

/// Returns the certificate that proves control of the domain to the authority.
fn challenge_certificate(domain: &str, digest: &[u8]) -> Result<CertifiedKey, Error> {
    let made = || {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([domain.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        Ok::<_, rcgen::Error>((params.self_signed(&key)?, key))
    };
    let (certificate, key) = made().map_err(|error| Error::Other(error.into()))?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = provider().key_provider.load_private_key(key).map_err(|error| Error::Other(error.into()))?;
    // Not verified as other certificates are, because verifiers reject its critical extension, which RFC 8737 requires.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

/// Reads a file of the folder, if it exists.
fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file, which only its owner may read.
fn write(path: &Path, content: &impl Serialize) -> io::Result<()> {
    atomic_file::write(path, serde_json::to_string_pretty(content)?.as_bytes())
}

/// An adapter of `ureq` for the ACME library.
struct UreqTransport(ureq::Agent);

/// Maximum size of an authority's response, in bytes.
const MAX_RESPONSE_BYTES: u64 = 1 << 20;

impl HttpClient for UreqTransport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let agent = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_or(Bytes::new(), http_body_util::Collected::to_bytes);
            let asked = tokio::task::spawn_blocking(move || {
                let answer = if parts.method == Method::POST {
                    agent.run(Request::from_parts(parts, &body[..]))
                } else {
                    agent.run(Request::from_parts(parts, ()))
                };
                let (parts, mut body) = answer?.into_parts();
                let body = body.with_config().limit(MAX_RESPONSE_BYTES).read_to_vec()?;
                Ok::<_, ureq::Error>(Response::from_parts(parts, Full::new(Bytes::from(body))))
            });
            match asked.await {
                Ok(Ok(answer)) => Ok(BytesResponse::from(answer)),
                Ok(Err(error)) => Err(Error::Other(error.into())),
                Err(error) => Err(Error::Other(error.into())),
            }
        })
    }
}
