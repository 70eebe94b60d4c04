//! Flags of `serve` for HTTPS.

use super::values::{directory_url, domain};
use crate::cli::usage_error::OrUsage as _;
use crate::server::tls::{AcmeSettings, CertificateFiles, Tls, TlsSettings};
use anyhow::{Context as _, Result};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct TlsArgs {
    /// Serve HTTPS with this PEM certificate chain; reloaded on change
    #[arg(
        long,
        env = "TRANSCRIBE_HOOK_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key",
        conflicts_with = "acme_domain"
    )]
    tls_cert: Option<PathBuf>,
    /// Use this PEM private key of the certificate
    #[arg(long, env = "TRANSCRIBE_HOOK_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve HTTPS with a Let's Encrypt certificate for this domain
    ///
    /// Using the flag accepts the terms of Let's Encrypt. It may be repeated.
    #[arg(
        long, env = "TRANSCRIBE_HOOK_ACME_DOMAIN", value_name = "DOMAIN", value_delimiter = ' ', value_parser = domain,
    )]
    acme_domain: Vec<String>,
    /// Store ACME certificates and the ACME account in this folder
    #[arg(long, env = "TRANSCRIBE_HOOK_ACME_CACHE", value_name = "FOLDER", default_value = "./acme")]
    acme_cache: PathBuf,
    /// Use the ACME directory at this URL
    #[arg(
        long,
        env = "TRANSCRIBE_HOOK_ACME_DIRECTORY",
        value_name = "URL",
        default_value = "https://acme-v02.api.letsencrypt.org/directory",
        value_parser = directory_url
    )]
    acme_directory: String,
    /// Give this contact address to the ACME server
    #[arg(long, env = "TRANSCRIBE_HOOK_ACME_CONTACT", value_name = "ADDRESS")]
    acme_contact: Option<String>,
    /// Trust this PEM root certificate of the ACME server
    ///
    /// Needed only if the ACME server's certificate is not publicly trusted.
    #[arg(long, env = "TRANSCRIBE_HOOK_ACME_CA", value_name = "FILE")]
    acme_ca: Option<PathBuf>,
}

impl TlsArgs {
    /// Returns the first domain that a certificate is requested for.
    pub(in crate::cli) fn domain(&self) -> Option<&str> {
        self.acme_domain.first().map(String::as_str)
    }

    /// Reads the certificate, if HTTPS is configured.
    pub(in crate::cli) fn open(&self) -> Result<Option<Tls>> {
        let settings = if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            TlsSettings::Files(CertificateFiles { certificate: certificate.clone(), key: key.clone() })
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
                roots: roots.transpose().or_usage()?,
            })
        } else {
            return Ok(None);
        };
        Ok(Some(Tls::open(settings).context("cannot serve HTTPS").or_usage()?))
    }
}
