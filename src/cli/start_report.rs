//! The log lines of a start: where the page and the webhooks are, and what is not set up.

use super::args::service_url;
use super::output::print_line;
use super::token;
use crate::api;
use crate::api::auth::client::Scheme;
use crate::secret::Secret;
use anyhow::Result;
use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A service that listens, and which of its parts are set up.
#[derive(Debug)]
pub(super) struct StartReport<'a> {
    pub(super) address: SocketAddr,
    pub(super) scheme: Scheme,
    /// The first domain of its certificate.
    pub(super) domain: Option<&'a str>,
    pub(super) database: &'a Path,
    /// The token file and its first token, if that file is used.
    pub(super) own_token: Option<(PathBuf, Secret)>,
    /// True if variables for the start of inbound calls are set up.
    pub(super) has_initiation_variables: bool,
    pub(super) missing: Vec<Part>,
}

/// A part of the service that works only if it is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    SigningSecret,
    IngestToken,
    Backups,
    Recordings,
}

impl StartReport<'_> {
    /// Logs the addresses, and a line for each part that is not set up, with its flag.
    ///
    /// # Errors
    /// The terminal cannot be written.
    pub(super) fn log(&self) -> Result<()> {
        let Self { address, database, .. } = self;
        let database = database.display();
        let scheme = self.scheme.as_str();
        tracing::info!(
            %address,
            %database,
            version = env!("CARGO_PKG_VERSION"),
            "listening on {scheme}://{address}, API at {scheme}://{address}/docs"
        );
        let url = service_url::url(self.address, self.scheme, self.domain);
        self.show_page(&url)?;
        let (history, turn, post_call) =
            [api::HISTORY_WEBHOOK_PATH, api::TURN_WEBHOOK_PATH, api::POST_CALL_WEBHOOK_PATH]
                .map(|path| format!("{url}{path}"))
                .into();
        // A name that others resolve is the address that ElevenLabs calls.
        let hint = if self.domain.is_some() { "" } else { "; ElevenLabs calls them by their public https address" };
        tracing::info!(
            history,
            turn,
            post_call,
            "webhooks: {history} or {turn} during a call, {post_call} after it{hint}"
        );
        if self.has_initiation_variables {
            let initiation = format!("{url}{}", api::INITIATION_WEBHOOK_PATH);
            tracing::info!(initiation, "webhook: {initiation} before an inbound call{hint}");
        }
        self.log_what_is_missing();
        Ok(())
    }

    /// Shows the address of the page. The token itself must not be in the log, which others may read.
    fn show_page(&self, url: &str) -> Result<()> {
        match &self.own_token {
            Some((_, token)) if io::stdout().is_terminal() => {
                print_line(format_args!("open {}", token::link(url, token.expose())))
            }
            Some((file, _)) => {
                let database = self.database.display();
                tracing::info!(
                    page = url,
                    token_file = %file.display(),
                    "page at {url}/; `transcribe-hook token --database {database} --link --url {url}` prints the URL \
                     that signs in"
                );
                Ok(())
            }
            None => {
                tracing::info!(page = url, "page at {url}/");
                Ok(())
            }
        }
    }

    fn log_what_is_missing(&self) {
        for part in &self.missing {
            match part {
                Part::SigningSecret => {
                    tracing::info!(
                        flag = "--elevenlabs-secret-file",
                        "post-call events are refused; set --elevenlabs-secret-file"
                    );
                }
                Part::IngestToken => self.log_open_ingest(),
                Part::Backups => {
                    tracing::info!(flag = "--backup-every", "no backups are made; set --backup-every and --backup-dir");
                }
                Part::Recordings => tracing::info!(flag = "--audio-dir", "recordings are not stored; set --audio-dir"),
            }
        }
    }

    /// Logs that anybody may store turns, as a warning if others than programs on this machine send them.
    fn log_open_ingest(&self) {
        const FLAG: &str = "--ingest-token-file";
        let is_local = self.address.ip().to_canonical().is_loopback() && self.missing.contains(&Part::SigningSecret);
        if is_local {
            tracing::info!(flag = FLAG, "storing turns and histories needs no token; set {FLAG}");
        } else {
            tracing::warn!(flag = FLAG, "storing turns and histories needs no token; set {FLAG}");
        }
    }
}
