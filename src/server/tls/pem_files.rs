//! A certificate and its key in two files, which are reloaded when they change.

use super::certificates::{BadCertificate, Certificates, parse_certified_key};
use super::validity;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Paths of the two PEM files.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The certificate, followed by its intermediate certificates.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Interval between two checks for changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Fingerprint of a file: modification time, size and inode.
type Fingerprint = Option<(SystemTime, u64, u64)>;

#[derive(Debug)]
pub(super) struct FileReloader {
    files: CertificateFiles,
    seen: [Fingerprint; 2],
}

impl FileReloader {
    pub(super) fn open(files: CertificateFiles, certificates: &Certificates) -> Result<Self, BadCertificate> {
        let reloader = Self { seen: fingerprints(&files), files };
        reloader.load(certificates)?;
        Ok(reloader)
    }

    fn load(&self, certificates: &Certificates) -> Result<(), BadCertificate> {
        let read =
            |path: &Path| std::fs::read(path).map_err(|error| BadCertificate(format!("{}: {error}", path.display())));
        let (chain, key) = (read(&self.files.certificate)?, read(&self.files.key)?);
        let certificate = parse_certified_key(&chain, &key).map_err(|BadCertificate(why)| {
            BadCertificate(format!("{} with {}: {why}", self.files.certificate.display(), self.files.key.display()))
        })?;
        validity::warn_if_expired(&certificate);
        certificates.set(certificate);
        Ok(())
    }

    pub(super) async fn run(mut self, certificates: &Certificates) {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            let now = fingerprints(&self.files);
            if now == self.seen {
                continue;
            }
            self.seen = now;
            match self.load(certificates) {
                Ok(()) => tracing::info!("certificate reloaded"),
                // Certificate and key are rarely replaced atomically, so the old pair is used until they match.
                Err(error) => {
                    tracing::error!(%error, "changed certificate unusable; the previous one stays in use");
                }
            }
        }
    }
}

fn fingerprints(files: &CertificateFiles) -> [Fingerprint; 2] {
    use std::os::unix::fs::MetadataExt as _;
    [&files.certificate, &files.key].map(|path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len(), file.ino()))
    })
}
