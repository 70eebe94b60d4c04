//! The flags of `serve` for HTTPS.

use super::values::domain;
use crate::server::tls::{AcmeSettings, Files, Tls, TlsSettings};
use anyhow::{Context as _, Result};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct TlsArgs {
    /// Serve HTTPS with this certificate, and those that lead to its authority's, in PEM; read again when it changes
    #[arg(
        long,
        env = "TRANSCRIBE_HOOK_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "acme_domain"
    )]
    tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM
    #[arg(long, env = "TRANSCRIBE_HOOK_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve HTTPS with a certificate for this domain from Let's Encrypt, whose terms are agreed to; may be repeated
    #[arg(
        long, env = "TRANSCRIBE_HOOK_ACME_DOMAIN", value_name = "DOMAIN", value_delimiter = ' ', value_parser = domain,
    )]
    acme_domain: Vec<String>,
    /// The folder that keeps the certificate and the account with the authority
    #[arg(long, env = "TRANSCRIBE_HOOK_ACME_CACHE", value_name = "FOLDER", default_value = "./acme")]
    acme_cache: PathBuf,
    /// Another authority's ACME directory
    #[arg(
        long,
        env = "TRANSCRIBE_HOOK_ACME_DIRECTORY",
        value_name = "URL",
        default_value = "https://acme-v02.api.letsencrypt.org/directory"
    )]
    acme_directory: String,
    /// Where the authority may write to about the certificate
    #[arg(long, env = "TRANSCRIBE_HOOK_ACME_CONTACT", value_name = "ADDRESS")]
    acme_contact: Option<String>,
    /// What an authority's own certificate is checked by, in PEM, where it is none that is commonly trusted
    #[arg(long, env = "TRANSCRIBE_HOOK_ACME_CA", value_name = "FILE")]
    acme_ca: Option<PathBuf>,
}

impl TlsArgs {
    /// The first domain that a certificate is obtained for.
    pub(in crate::cli) fn domain(&self) -> Option<&str> {
        self.acme_domain.first().map(String::as_str)
    }

    /// Reads the certificate, if HTTPS is wanted.
    pub(in crate::cli) fn open(&self) -> Result<Option<Tls>> {
        let settings = if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            TlsSettings::Files(Files { certificate: certificate.clone(), key: key.clone() })
        } else if !self.acme_domain.is_empty() {
            let roots = self
                .acme_ca
                .as_ref()
                .map(|file| std::fs::read(file).with_context(|| format!("--acme-ca {}", file.display())));
            TlsSettings::Acme(AcmeSettings {
                domains: self.acme_domain.clone(),
                cache: self.acme_cache.clone(),
                directory: self.acme_directory.clone(),
                contact: self.acme_contact.clone(),
                roots: roots.transpose()?,
            })
        } else {
            return Ok(None);
        };
        Ok(Some(Tls::open(settings).context("cannot serve HTTPS")?))
    }
}
