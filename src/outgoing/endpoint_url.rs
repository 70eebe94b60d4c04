//! The URL of an endpoint.

use crate::domain::Invalid;
use crate::store::EndpointId;
use sha2::{Digest as _, Sha256};
use std::fmt;
use ureq::http::Uri;

/// A URL that notices are sent to: `https://`, or `http://` on this machine.
///
/// It may contain a secret in its path or query, so `Debug` and [`EndpointUrl::shown`] leave both out.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointUrl(Uri);

impl EndpointUrl {
    /// Validates a URL.
    ///
    /// # Errors
    /// The URL is not `https://` with a host. `http://` is only accepted for this machine.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let rule = || {
            let text = "must be https:// and a host, without a user; http:// only for 127.0.0.1, [::1] and localhost";
            Invalid(text.into())
        };
        let uri: Uri = text.trim().parse().map_err(|_| rule())?;
        let host = uri.host().unwrap_or_default();
        let is_loopback = matches!(host, "127.0.0.1" | "[::1]" | "localhost");
        let is_named = !host.is_empty() && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        match uri.scheme_str() {
            Some("https") if is_named => Ok(Self(uri)),
            Some("http") if is_named && is_loopback => Ok(Self(uri)),
            _ => Err(rule()),
        }
    }

    /// Returns the whole URL, to send requests to it.
    pub(super) fn expose(&self) -> &Uri {
        &self.0
    }

    /// Returns scheme, host and port, to show them.
    pub fn shown(&self) -> String {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        format!("{}://{authority}", self.0.scheme_str().unwrap_or_default())
    }

    /// Returns the id of the endpoint.
    pub fn id(&self) -> EndpointId {
        let digest: [u8; 32] = Sha256::digest(self.0.to_string()).into();
        let (first, _) = digest.split_first_chunk().expect("a digest has more than 8 bytes");
        EndpointId::of_number(u64::from_be_bytes(*first))
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointUrl({})", self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_https_or_this_machine_and_shows_no_path() {
        let shown = |text| EndpointUrl::new(text).ok().map(|url| format!("{} {url:?}", url.shown()));
        let both = |origin: &str| Some(format!("{origin} EndpointUrl({origin})"));
        assert_eq!(shown("https://h.example/secret?key=word"), both("https://h.example"));
        assert_eq!(shown(" https://h:444 "), both("https://h:444"));
        assert_eq!(shown("http://127.0.0.1:9/x"), both("http://127.0.0.1:9"));
        assert_eq!(shown("http://[::1]:9/x"), both("http://[::1]:9"));
        assert_eq!(shown("http://localhost/"), both("http://localhost"));
        for bad in ["", "x", "/x", "ftp://h", "http://h", "http://127.0.0.1.h", "https://", "https://u:p@h/"] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_id_depends_on_all_of_the_url() {
        let id = |text| EndpointUrl::new(text).unwrap().id();
        assert_eq!(id("https://h/a"), id("https://h/a"));
        assert_ne!(id("https://h/a"), id("https://h/b"));
        assert_eq!(id("https://h/a").as_str().len(), 16);
    }
}
