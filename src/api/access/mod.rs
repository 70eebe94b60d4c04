//! Who may do what. This is the one place that decides it, for every path, and it fails closed: whatever path is not named
//! here is for those who read and manage.
//!
//! Turns and histories are taken from anybody until an ingest token is configured. What ElevenLabs signs is judged by its
//! signature, in [`super::signed`]. Reading and managing needs an API token, or the cookie that the page got for one
//! ([`session`]), from wherever the request comes: a proxy, a tunnel or a foreign page in a browser on this machine look like a
//! program on this machine. Only `--no-token` changes that.
//!
//! Refusals are counted by address ([`refusals`]). A right token is never held up by wrong ones from the same address, which
//! may be a proxy's: otherwise anybody could keep turns from being stored. Tokens are long instead.

pub mod client;
pub(super) mod described;
mod refusals;
pub(super) mod session;
mod signed_out;

use super::budget::Proved;
use super::error::ApiError;
use crate::model::{Invalid, Timestamp};
use crate::secret::{Secret, Tokens};
use client::{Client, Page};
use futures_util::StreamExt as _;
use poem::http::{HeaderMap, header};
use poem::{Body, Endpoint, IntoResponse as _, Request, Response};
use refusals::Refusals;
use session::Session;
use signed_out::SignedOut;
use std::path::PathBuf;
use std::sync::Arc;

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Tells nothing of any call.
    Public,
    /// Takes turns.
    Ingest,
    /// Takes what ElevenLabs has signed.
    Signed,
    /// Nothing: it is below the webhooks, whose senders are never asked for the API token, and no webhook.
    NoWebhook,
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
            _ if path == WEBHOOKS || path.strip_prefix(WEBHOOKS).is_some_and(|rest| rest.starts_with('/')) => {
                Self::NoWebhook
            }
            _ => Self::Manage,
        }
    }
}

/// Whether a path tells nothing of any call, so that its answers may be cached.
pub fn is_public(path: &str) -> bool {
    Purpose::of(path) == Purpose::Public
}

/// The path below which all webhooks are.
const WEBHOOKS: &str = "/webhooks";

/// Returns the webhook path that is meant by one as people save it: with slashes or blanks at its end, with doubled slashes, or
/// in other case. None for a path that is written as it should be, or that is not below the webhooks.
pub fn webhook_path(path: &str) -> Option<String> {
    if !matches!(Purpose::of(path), Purpose::Manage | Purpose::NoWebhook) {
        return None;
    }
    let mut end = path;
    while let Some(shorter) = BLANKS.iter().chain(&["/"]).find_map(|blank| end.strip_suffix(blank)) {
        end = shorter;
    }
    let meant: String =
        end.split('/').filter(|part| !part.is_empty()).fold(String::new(), |meant, part| meant + "/" + part);
    let meant = meant.to_ascii_lowercase();
    let below = meant.strip_prefix(WEBHOOKS).is_some_and(|rest| rest.starts_with('/'));
    (below && meant != path).then_some(meant)
}

/// White space as it stands in a path, with and without width.
const BLANKS: [&str; 12] =
    ["%20", "%09", "%0a", "%0A", "%0d", "%0D", "%c2%a0", "%C2%A0", "%e2%80%8b", "%E2%80%8B", "%ef%bb%bf", "%EF%BB%BF"];

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
    /// With one of these a client reads and manages; without any, nobody does.
    pub api_tokens: Vec<Secret>,
    /// Lets everybody read and manage.
    pub no_token: bool,
    /// The file that remembers over a restart which sessions were ended by signing out.
    pub signed_out: Option<PathBuf>,
    /// How many requests a minute of one address are refused with a reason; more are answered 429. 0 is no limit.
    pub refusals_a_minute: u32,
}

/// Decides.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    ingest: Tokens,
    api: Tokens,
    no_token: bool,
    signed_out: SignedOut,
    refusals: Refusals,
}

/// Why a request may read and manage.
enum Granted {
    /// It shows a token, which no page of another origin knows.
    ByToken,
    /// It shows a session's cookie, which browsers send by themselves.
    ByCookie(Session),
    /// Nobody has to show anything.
    Openly,
}

impl Access {
    /// Decides by these settings.
    pub fn new(settings: &AccessSettings) -> Self {
        Self(Arc::new(Inner {
            ingest: Tokens::new(&settings.ingest_tokens),
            api: Tokens::new(&settings.api_tokens),
            no_token: settings.no_token,
            signed_out: SignedOut::open(settings.signed_out.clone(), Timestamp::now()),
            refusals: Refusals::new(settings.refusals_a_minute),
        }))
    }

    /// Puts an endpoint behind this.
    pub fn guard<E>(&self, inner: E) -> Guard<E> {
        Guard { access: self.clone(), inner }
    }

    /// Why a request may go on, if that has to be known.
    fn check(&self, request: &Request) -> Result<Option<Granted>, ApiError> {
        match Purpose::of(request.uri().path()) {
            Purpose::Public | Purpose::Signed => Ok(None),
            Purpose::NoWebhook => {
                Err(ApiError::NotFound("there is no such webhook; /docs shows those that there are".into()))
            }
            Purpose::Ingest if self.0.ingest.is_empty() => Ok(None),
            Purpose::Ingest => {
                let headers = request.headers();
                let shown = bearer(headers).into_iter().chain(named(headers, "x-webhook-token"));
                among(&self.0.ingest, shown, "Authorization: Bearer or X-Webhook-Token, with the ingest token")?;
                Ok(Some(Granted::ByToken))
            }
            Purpose::Manage => self.check_managing(request).map(Some),
        }
    }

    /// Why a request may read and manage.
    fn check_managing(&self, request: &Request) -> Result<Granted, ApiError> {
        let granted = self.grant(request)?;
        if request.method().is_safe() {
            return Ok(granted);
        }
        // No page of another origin may make somebody's browser change what is stored.
        match (&granted, Page::behind(request)) {
            (Granted::ByToken, _) | (_, Page::Own) | (Granted::Openly, Page::Unknown) => Ok(granted),
            (Granted::ByCookie(_) | Granted::Openly, _) => {
                Err(ApiError::no_token("a change that shows no token must come from this service's own page"))
            }
        }
    }

    fn grant(&self, request: &Request) -> Result<Granted, ApiError> {
        if self.0.no_token {
            return Ok(Granted::Openly);
        }
        let headers = request.headers();
        let key = request.uri().path().starts_with(CONVAI).then(|| named(headers, "xi-api-key")).flatten();
        let shown: Vec<_> = bearer(headers).into_iter().chain(key).collect();
        if shown.iter().any(|shown| self.0.api.have(shown)) {
            return Ok(Granted::ByToken);
        }
        if let Some(session) = self.session(request) {
            return Ok(Granted::ByCookie(session));
        }
        Err(if shown.is_empty() {
            ApiError::no_token("give the API token as Authorization: Bearer, or sign in at /")
        } else {
            ApiError::wrong_token("the token is not the API token")
        })
    }

    /// Returns the session that a request belongs to, unless it has ended.
    fn session(&self, request: &Request) -> Option<Session> {
        let session = session::find(request, &self.0.api, Timestamp::now())?;
        (!self.0.signed_out.has(&session)).then_some(session)
    }

    /// Ends an answer with the session that it is for, if it is a live stream.
    fn ended_with(&self, session: Session, mut answer: Response) -> Response {
        if answer.content_type().is_some_and(|kind| kind.starts_with("text/event-stream")) {
            let access = self.clone();
            let stream = answer.take_body().into_bytes_stream();
            let ended = Box::pin(async move { access.0.signed_out.until_ended(session).await });
            answer.set_body(Body::from_bytes_stream(stream.take_until(ended)));
        }
        answer
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
        let granted = match self.access.check(&request) {
            Ok(granted) => granted,
            Err(error @ ApiError::Unauthorized { .. }) => return Err(self.access.refuse(error, client).into()),
            Err(error) => return Err(error.into()),
        };
        if matches!(granted, Some(Granted::ByToken | Granted::ByCookie(_))) {
            request.set_data(Proved);
        }
        match self.inner.call(request).await {
            Ok(answer) => {
                let answer = answer.into_response();
                Ok(match granted {
                    Some(Granted::ByCookie(session)) => self.access.ended_with(session, answer),
                    _ => answer,
                })
            }
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
        for path in ["/webhooks", "/webhooks/", "/webhooks/elevenlabs/transcription/", "/webhooks/../api/v1/calls"] {
            assert_eq!(Purpose::of(path), Purpose::NoWebhook, "{path:?}");
        }
        assert_eq!(Purpose::of("/webhooksx"), Purpose::Manage);
    }

    #[test]
    fn a_webhooks_path_is_taken_as_people_save_it() {
        let signed = "/webhooks/elevenlabs/post-call";
        for saved in [
            "/webhooks/elevenlabs/post-call/",
            "/webhooks/elevenlabs/post-call%20",
            "/webhooks/elevenlabs/post-call/%20",
            "/webhooks/elevenlabs/post-call%20/",
            "/webhooks/elevenlabs/post-call%0A",
            "/webhooks/elevenlabs/post-call%E2%80%8B",
            "/webhooks/elevenlabs/post-call%0d%0a%09//",
            "//webhooks//elevenlabs///post-call",
            "/Webhooks/ElevenLabs/Post-Call",
        ] {
            assert_eq!(webhook_path(saved).as_deref(), Some(signed), "{saved}");
        }
        for other in
            [signed, super::super::TURNS, "/", "", "/api/v1/calls/", "/webhooksx/", "/x/webhooks/", "/webhooks/"]
        {
            assert_eq!(webhook_path(other), None, "{other}");
        }
        // What it does not become is still below the webhooks, and so never asked for the API token.
        assert_eq!(webhook_path("/webhooks//../api/v1/calls/").as_deref(), Some("/webhooks/../api/v1/calls"));
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
