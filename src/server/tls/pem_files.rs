//! A certificate and its key in two files, looked after for changes.

use super::certificates::{BadCertificate, Certificates, certified};
use super::validity;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The two files, in PEM.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate, and behind it those that lead to its authority's.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How often is looked whether they changed.
const EVERY: Duration = Duration::from_secs(2);

/// What of a file differs once it was changed or replaced.
type Stamp = Option<(SystemTime, u64, u64)>;

#[derive(Debug)]
pub(super) struct Watch {
    files: Files,
    seen: [Stamp; 2],
}

impl Watch {
    pub(super) fn open(files: Files, certificates: &Certificates) -> Result<Self, BadCertificate> {
        let watch = Self { seen: stamps(&files), files };
        watch.load(certificates)?;
        Ok(watch)
    }

    fn load(&self, certificates: &Certificates) -> Result<(), BadCertificate> {
        let read =
            |path: &Path| std::fs::read(path).map_err(|error| BadCertificate(format!("{}: {error}", path.display())));
        let (chain, key) = (read(&self.files.certificate)?, read(&self.files.key)?);
        let certificate = certified(&chain, &key).map_err(|BadCertificate(why)| {
            BadCertificate(format!("{} with {}: {why}", self.files.certificate.display(), self.files.key.display()))
        })?;
        validity::warn_if_expired(&certificate);
        certificates.set(certificate);
        Ok(())
    }

    pub(super) async fn keep(mut self, certificates: &Certificates) {
        loop {
            tokio::time::sleep(EVERY).await;
            let now = stamps(&self.files);
            if now == self.seen {
                continue;
            }
            self.seen = now;
            match self.load(certificates) {
                Ok(()) => tracing::info!("the certificate was read again; new connections get it"),
                // One of the two is commonly changed before the other.
                Err(error) => {
                    tracing::error!(%error, "the changed certificate cannot be used; the one before it stays");
                }
            }
        }
    }
}

fn stamps(files: &Files) -> [Stamp; 2] {
    use std::os::unix::fs::MetadataExt as _;
    [&files.certificate, &files.key].map(|path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len(), file.ino()))
    })
}
