//! A certificate from an authority that speaks ACME (RFC 8555), such as Let's Encrypt, asked for again in time.
//!
//! The authority sees that the domain leads here by a handshake with the service itself (TLS-ALPN-01, RFC 8737), so that no
//! other port is needed. What was obtained is kept in a folder, account included, so that a restart asks for nothing. While the
//! authority cannot be reached the service goes on with what it has.

use super::certificates::{BadCertificate, Certificates, certified, provider};
use super::validity;
use crate::domain::Timestamp;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Error, HttpClient,
    Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use serde::{Deserialize, Serialize};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::sign::CertifiedKey;
use ureq::http::{Method, Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Whom to ask, and for what.
#[derive(Debug, Clone)]
pub struct AcmeSettings {
    /// The names that the certificate is for.
    pub domains: Vec<String>,
    /// The folder for account and certificate, which is made when there is none.
    pub cache: PathBuf,
    /// The authority's directory.
    pub directory: String,
    /// Where the authority may write to.
    pub contact: Option<String>,
    /// What the authority's own certificate is checked by, in PEM, instead of the commonly trusted ones.
    pub roots: Option<Vec<u8>>,
}

/// How long after a failure it is tried again, at first and at most. Authorities limit failures by the hour.
const AGAIN: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(2));

/// How often is looked whether the certificate has to be renewed.
const LOOK: Duration = Duration::from_hours(1);

/// How long the authority may take to look, and to issue.
const PATIENCE: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).timeout(Duration::from_mins(2));

#[derive(Debug)]
pub(super) struct Keeper {
    settings: AcmeSettings,
    agent: ureq::Agent,
    until: Option<validity::Dates>,
}

/// A certificate as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    domains: Vec<String>,
    certificate: String,
    key: String,
}

/// An account as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptAccount {
    directory: String,
    credentials: AccountCredentials,
}

impl Keeper {
    pub(super) fn open(settings: AcmeSettings, certificates: &Certificates) -> Result<Self, BadCertificate> {
        let bad = |why: &dyn std::fmt::Display| BadCertificate(format!("{}: {why}", settings.cache.display()));
        crate::sys::files::create_folder(&settings.cache).map_err(|error| bad(&error))?;
        // To fail now rather than with a certificate in hand.
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
        let mut keeper = Self { settings, agent, until: None };
        match keeper.kept() {
            Ok(Some(kept)) => keeper.take(&kept, certificates)?,
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the kept certificate cannot be used; another one is asked for"),
        }
        Ok(keeper)
    }

    /// The certificate in the folder, if it is the one that is wanted.
    fn kept(&self) -> io::Result<Option<Kept>> {
        let kept: Option<Kept> = read(&self.settings.cache.join(CERTIFICATE))?;
        Ok(kept.filter(|kept| kept.directory == self.settings.directory && kept.domains == self.settings.domains))
    }

    fn take(&mut self, kept: &Kept, certificates: &Certificates) -> Result<(), BadCertificate> {
        let certificate = certified(kept.certificate.as_bytes(), kept.key.as_bytes())?;
        validity::warn_if_expired(&certificate);
        self.until = validity::of(&certificate);
        certificates.set(certificate);
        Ok(())
    }

    /// Whether there is none, or less than a third of its time is left.
    fn is_due(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|dates| now.unix_micros() >= dates.due())
    }

    /// How long until it is due, or until that is looked at again: a clock may be set meanwhile.
    fn until_due(&self, now: Timestamp) -> Duration {
        let Some(dates) = self.until else { return LOOK };
        let micros = dates.due().saturating_sub(now.unix_micros());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0)).clamp(Duration::from_secs(1), LOOK)
    }

    pub(super) async fn keep(mut self, certificates: &Certificates) {
        let mut again = AGAIN.0;
        loop {
            let mut failed = None;
            if self.is_due(Timestamp::now()) {
                let obtained = self.obtain(certificates).await;
                certificates.clear_challenges();
                match obtained {
                    Ok(()) => {
                        again = AGAIN.0;
                        let until = self.until.map(|dates| dates.until.to_string());
                        tracing::info!(domains = ?self.settings.domains, until, "a certificate was obtained");
                    }
                    Err(error) => {
                        tracing::error!(%error, again = ?again, "no certificate was obtained; it will be tried again");
                        failed = Some(again);
                        again = (again * 2).min(AGAIN.1);
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
            let answer = answer_to_challenge(&domain, challenge.key_authorization().digest().as_ref())?;
            certificates.set_challenge(&domain, answer);
            challenge.set_ready().await?;
        }
        if order.poll_ready(&PATIENCE).await? != OrderStatus::Ready {
            return Err(why_refused(&mut order).await);
        }
        let key = order.finalize().await?;
        let certificate = order.poll_certificate(&PATIENCE).await?;
        let AcmeSettings { directory, domains, .. } = &self.settings;
        let kept = Kept { directory: directory.clone(), domains: domains.clone(), certificate, key };
        self.take(&kept, certificates).map_err(|error| Error::Other(error.into()))?;
        write(&self.settings.cache.join(CERTIFICATE), &kept).map_err(|error| Error::Other(error.into()))
    }

    /// The account of before, or a new one.
    async fn account(&self) -> Result<Account, Error> {
        let path = self.settings.cache.join("account.json");
        let builder = Account::builder_with_http(Box::new(Http(self.agent.clone())));
        let kept: Option<KeptAccount> = read(&path).map_err(|error| Error::Other(error.into()))?;
        if let Some(kept) = kept.filter(|kept| kept.directory == self.settings.directory) {
            return builder.from_credentials(kept.credentials).await;
        }
        let contact = self.settings.contact.as_ref().map(|address| format!("mailto:{address}"));
        let contact: Vec<_> = contact.iter().map(String::as_str).collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let directory = self.settings.directory.clone();
        let (account, credentials) = builder.create(&new, directory.clone(), None).await?;
        write(&path, &KeptAccount { directory, credentials }).map_err(|error| Error::Other(error.into()))?;
        Ok(account)
    }
}

const CERTIFICATE: &str = "certificate.json";

/// What the authority says of the authorization that failed.
async fn why_refused(order: &mut instant_acme::Order) -> Error {
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let failed = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = failed {
            let domain = authorization.identifier();
            return Error::Other(format!("the authority does not find that {domain} leads here: {problem}").into());
        }
    }
    Error::Str("the authority refused the order")
}

/// The certificate that shows the authority that this service is whom the account belongs to.
fn answer_to_challenge(domain: &str, digest: &[u8]) -> Result<CertifiedKey, Error> {
    let made = || {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new([domain.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        Ok::<_, rcgen::Error>((params.self_signed(&key)?, key))
    };
    let (certificate, key) = made().map_err(|error| Error::Other(error.into()))?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = provider().key_provider.load_private_key(key).map_err(|error| Error::Other(error.into()))?;
    // Not looked at, as others are, since no common verifier knows the extension, which is critical as it has to be.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

/// What a file of the folder holds, if it is there.
fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts a file whole into its place, readable by this user only, as temporary files are.
fn write(path: &Path, content: &impl Serialize) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(serde_json::to_string_pretty(content)?.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// The client that is there anyway, as the library wants one.
struct Http(ureq::Agent);

/// Greatest length of an authority's answer, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

impl HttpClient for Http {
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
                let body = body.with_config().limit(MAX_ANSWER).read_to_vec()?;
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
