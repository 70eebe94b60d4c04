//! Who may do what. This is the one place that decides it, for every path, and it fails closed: whatever path is not named
//! here is for those who read and manage.
//!
//! Turns and histories are taken from anybody until an ingest token is configured. What the platform signs is judged by its
//! signature, in [`super::signed`]. Reading and managing needs an API token, or the cookie that the page got for one
//! ([`session`]); without a configured token it is for clients on this machine.
//!
//! Refusals are counted by address ([`refusals`]). A right token is never held up by wrong ones from the same address, which
//! may be a proxy's: otherwise anybody could keep turns from being stored. Tokens are long instead.

pub mod client;
pub(super) mod described;
mod refusals;
pub(super) mod session;

use super::budget::Proved;
use super::error::ApiError;
use crate::model::{Invalid, Timestamp};
use crate::secret::{Secret, Tokens};
use client::{Client, Page, is_on_this_machine};
use poem::http::{HeaderMap, header};
use poem::{Endpoint, IntoResponse as _, Request, Response};
use refusals::Refusals;
use std::sync::Arc;

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Tells nothing of any call.
    Public,
    /// Takes turns.
    Ingest,
    /// Takes what the platform has signed.
    Signed,
    /// Reads or changes what is stored: everything else.
    Manage,
}

impl Purpose {
    /// Of a request's path as it came, so that no other spelling of a path is judged as that path.
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/" | "/docs" | "/healthz" | "/openapi.json" | "/readyz" | "/session" => Self::Public,
            // The files of the page that signs in, which holds no call.
            _ if path.starts_with("/assets/") => Self::Public,
            super::TURNS | "/webhooks/elevenlabs/history" => Self::Ingest,
            "/webhooks/elevenlabs/post-call" => Self::Signed,
            _ => Self::Manage,
        }
    }
}

/// The operations that the platform's own SDKs call, which put the token where the platform has its API key.
const CONVAI: &str = "/v1/convai/";

/// The least length of a token, so that nobody finds one by trying.
const LEAST_TOKEN: usize = 16;

/// Whether a secret is long enough to be a token.
///
/// # Errors
/// It is not; the rule does not repeat it.
pub fn check_token(token: &Secret) -> Result<(), Invalid> {
    if token.reveal().len() < LEAST_TOKEN {
        return Err(Invalid(format!("must be at least {LEAST_TOKEN} characters long").into()));
    }
    Ok(())
}

/// Who is let in.
#[derive(Debug, Default)]
pub struct AccessSettings {
    /// With one of these turns are taken; without any, from everybody.
    pub ingest_tokens: Vec<Secret>,
    /// With one of these is read and managed; without any, by clients on this machine.
    pub api_tokens: Vec<Secret>,
    /// Everybody may read and manage, as long as there is no API token.
    pub allow_public_reads: bool,
    /// How many requests a minute of one address are refused with a reason; more are answered 429. 0 is no limit.
    pub refusals_a_minute: u32,
}

/// Decides.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    ingest: Tokens,
    api: Tokens,
    allow_public_reads: bool,
    refusals: Refusals,
}

/// Why a request may read and manage.
enum Granted {
    /// It shows a token, which no page of another origin knows.
    ByToken,
    /// It shows a cookie, which browsers send by themselves.
    ByCookie,
    /// It has nothing to show.
    Openly,
}

impl Access {
    /// Decides by these settings.
    pub fn new(settings: &AccessSettings) -> Self {
        Self(Arc::new(Inner {
            ingest: Tokens::new(&settings.ingest_tokens),
            api: Tokens::new(&settings.api_tokens),
            allow_public_reads: settings.allow_public_reads,
            refusals: Refusals::new(settings.refusals_a_minute),
        }))
    }

    /// Puts an endpoint behind this.
    pub fn guard<E>(&self, inner: E) -> Guard<E> {
        Guard { access: self.clone(), inner }
    }

    /// Whether a request may pass, and if so, whether what it shows proves who sends it.
    fn check(&self, request: &Request) -> Result<bool, ApiError> {
        match Purpose::of(request.uri().path()) {
            Purpose::Public | Purpose::Signed => Ok(false),
            Purpose::Ingest if self.0.ingest.is_empty() => Ok(false),
            Purpose::Ingest => {
                let headers = request.headers();
                let shown = bearer(headers).into_iter().chain(named(headers, "x-webhook-token"));
                among(&self.0.ingest, shown, "Authorization: Bearer or X-Webhook-Token, with the ingest token")?;
                Ok(true)
            }
            Purpose::Manage => self.check_managing(request),
        }
    }

    /// Whether a request may read and manage, and if so, whether a token or a cookie proves who sends it.
    fn check_managing(&self, request: &Request) -> Result<bool, ApiError> {
        let granted = self.grant(request)?;
        let proved = !matches!(granted, Granted::Openly);
        if request.method().is_safe() {
            return Ok(proved);
        }
        // No page of another origin may make somebody's browser change what is stored.
        match (granted, Page::behind(request)) {
            (Granted::ByToken, _) | (_, Page::Own) | (Granted::Openly, Page::Unknown) => Ok(proved),
            (Granted::ByCookie | Granted::Openly, _) => {
                Err(ApiError::no_token("a change that shows no token must come from this service's own page"))
            }
        }
    }

    fn grant(&self, request: &Request) -> Result<Granted, ApiError> {
        let headers = request.headers();
        if self.0.api.is_empty() {
            return if self.0.allow_public_reads || is_on_this_machine(request) {
                Ok(Granted::Openly)
            } else {
                Err(ApiError::no_token(
                    "no API token is configured here, so that only clients on the service's own machine may read; \
                     others need one (--api-token)",
                ))
            };
        }
        let key = request.uri().path().starts_with(CONVAI).then(|| named(headers, "xi-api-key")).flatten();
        let shown: Vec<_> = bearer(headers).into_iter().chain(key).collect();
        if shown.iter().any(|shown| self.0.api.have(shown)) {
            return Ok(Granted::ByToken);
        }
        if session::end(headers, &self.0.api, Timestamp::now()).is_some() {
            return Ok(Granted::ByCookie);
        }
        Err(if shown.is_empty() {
            ApiError::no_token("give the API token as Authorization: Bearer")
        } else {
            ApiError::wrong_token("the token is not the API token")
        })
    }

    /// What a refused client is told.
    fn refuse(&self, error: ApiError, client: Option<Client>) -> ApiError {
        let Some(Client { address }) = client else { return error };
        match self.0.refusals.count(address) {
            Ok(()) => error,
            Err(seconds) => ApiError::TooManyRefused(seconds),
        }
    }
}

/// Whether one of what was shown is a token.
fn among<'a>(tokens: &Tokens, shown: impl Iterator<Item = &'a [u8]>, wanted: &str) -> Result<(), ApiError> {
    let mut any = false;
    for shown in shown {
        any = true;
        if tokens.have(shown) {
            return Ok(());
        }
    }
    Err(if any {
        ApiError::wrong_token("the token is not the ingest token")
    } else {
        ApiError::no_token(&format!("give {wanted}"))
    })
}

fn named<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get(name).map(poem::http::HeaderValue::as_bytes)
}

/// The token of a header `Authorization: Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// An endpoint behind [`Access`].
pub struct Guard<E> {
    access: Access,
    inner: E,
}

impl<E: Endpoint> Endpoint for Guard<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let client = request.data::<Client>().copied();
        match self.access.check(&request) {
            Ok(false) => {}
            Ok(true) => request.set_data(Proved),
            Err(error) => return Err(self.access.refuse(error, client).into()),
        }
        match self.inner.call(request).await {
            Ok(answer) => Ok(answer.into_response()),
            // By its signature, or by what it signed in with.
            Err(error) => match error.downcast_ref::<ApiError>() {
                Some(refusal @ ApiError::Unauthorized { .. }) => {
                    Err(self.access.refuse(refusal.clone(), client).into())
                }
                _ => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_named_is_for_those_who_manage() {
        for path in
            ["/docs/", "//docs", "/DOCS", "/docs%2f", "/metrics", "/api/v1/calls", "/session/x", "", "/healthz/.."]
        {
            assert_eq!(Purpose::of(path), Purpose::Manage, "{path:?}");
        }
        assert_eq!(Purpose::of("/webhooks/elevenlabs/transcription"), Purpose::Ingest);
        assert_eq!(Purpose::of("/webhooks/elevenlabs/transcription/"), Purpose::Manage);
    }

    #[test]
    fn only_a_bearers_token_is_one() {
        let token = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, poem::http::HeaderValue::from_static(value));
            bearer(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(token("Bearer abc").as_deref(), Some(&b"abc"[..]));
        assert_eq!(token("bearer  abc ").as_deref(), Some(&b"abc"[..]));
        for other in ["Basic abc", "Bearer", "abc", "Bearerabc", ""] {
            assert_eq!(token(other), None, "{other:?}");
        }
    }
}
