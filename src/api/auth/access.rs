//! Access control. This module alone decides which paths require a token, and it fails closed: a path that is not
//! listed here requires an API token. [`super::roles`] decides which role the token needs.
//!
//! Anybody may send turns and histories until an ingest token is configured. Post-call deliveries are checked by their
//! signature, in [`crate::api::webhooks::signed_body`]. Reading and changing data requires an API token, or the cookie
//! that the page got for one ([`super::session`]), regardless of the client's address: a proxy, a tunnel or a foreign
//! page in a local browser cannot be told from a local program. Only `--no-token` changes that, and `--user-header`,
//! whose header is believed if a trusted proxy sent the request itself.
//!
//! Failed attempts are limited per address ([`super::rate_limit`]). The limit never delays a valid token, because the
//! address may be a proxy's and anybody could then prevent turns from being stored. Tokens have a minimum length
//! instead.

use super::api_token::{ApiToken, ApiTokens};
use super::client::{Client, RequestOrigin, UserHeader};
use super::rate_limit::RateLimiter;
use super::session::Session;
use super::signed_out::SignedOut;
use crate::api::error::ApiError;
use crate::api::error_code::ErrorCode;
use crate::api::memory_budget::Proved;
use crate::api::paths::{
    HISTORY_WEBHOOK_PATH, INITIATION_WEBHOOK_PATH, MCP_PATH, POST_CALL_WEBHOOK_PATH, TURN_WEBHOOK_PATH,
};
use crate::api::refusal_log::log_refusal;
use crate::domain::{Credential, Identity, Role, Timestamp, is_loopback};
use crate::jobs::access_log::AccessLog;
use crate::secret::{Secret, Tokens};
use futures_util::StreamExt as _;
use poem::http::{HeaderMap, header};
use poem::{Body, Endpoint, IntoResponse as _, Request, Response};
use std::path::PathBuf;
use std::sync::Arc;

/// Access requirement of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum RouteAccess {
    /// Contains no data of calls; open to everybody.
    Public,
    /// Receives turns, or says who is calling; requires the ingest token, if there is one.
    Ingest,
    /// Receives signed deliveries of ElevenLabs.
    Signed,
    /// A path below the webhooks that does not exist. It returns 404 instead of asking its sender for the API token.
    NoWebhook,
    /// Reads or changes stored data; requires an API token with the role in [`super::roles`]. The default for all other
    /// paths.
    Protected,
}

impl RouteAccess {
    /// Returns the requirement of a path in its raw form, because any other spelling of a path must not count as that
    /// path.
    pub(in crate::api) fn from_path(path: &str) -> Self {
        match path {
            "/" | "/docs" | "/healthz" | "/openapi.json" | "/readyz" | "/session" => Self::Public,
            // Files of the sign-in page, which contains no data of calls.
            _ if path.starts_with("/assets/") => Self::Public,
            TURN_WEBHOOK_PATH | HISTORY_WEBHOOK_PATH | INITIATION_WEBHOOK_PATH => Self::Ingest,
            POST_CALL_WEBHOOK_PATH => Self::Signed,
            _ if path == WEBHOOK_PREFIX
                || path.strip_prefix(WEBHOOK_PREFIX).is_some_and(|rest| rest.starts_with('/')) =>
            {
                Self::NoWebhook
            }
            _ => Self::Protected,
        }
    }
}

/// Returns true if a path contains no data of calls, so its responses may be cached.
pub fn is_public(path: &str) -> bool {
    RouteAccess::from_path(path) == RouteAccess::Public
}

/// Prefix of all webhook paths.
const WEBHOOK_PREFIX: &str = "/webhooks";

/// Normalizes a webhook path as people save it: with trailing slashes or white space, doubled slashes, or in another
/// case. Returns `None` for a path that is already normal, or that is not below the webhooks.
pub fn normalize_webhook_path(path: &str) -> Option<String> {
    if !matches!(RouteAccess::from_path(path), RouteAccess::Protected | RouteAccess::NoWebhook) {
        return None;
    }
    let mut end = path;
    while let Some(shorter) = ENCODED_WHITE_SPACE.iter().chain(&["/"]).find_map(|blank| end.strip_suffix(blank)) {
        end = shorter;
    }
    let meant: String =
        end.split('/').filter(|part| !part.is_empty()).fold(String::new(), |meant, part| meant + "/" + part);
    let meant = meant.to_ascii_lowercase();
    let below = meant.strip_prefix(WEBHOOK_PREFIX).is_some_and(|rest| rest.starts_with('/'));
    (below && meant != path).then_some(meant)
}

/// Percent-encoded white space, and characters without width.
const ENCODED_WHITE_SPACE: [&str; 12] =
    ["%20", "%09", "%0a", "%0A", "%0d", "%0D", "%c2%a0", "%C2%A0", "%e2%80%8b", "%E2%80%8B", "%ef%bb%bf", "%EF%BB%BF"];

/// Prefix of the operations for ElevenLabs' SDKs, which send the token in the header of their API key.
pub(super) const ELEVENLABS_PREFIX: &str = "/v1/convai/";

/// Settings of the access control.
#[derive(Debug, Default)]
pub struct AccessSettings {
    /// Tokens for sending turns. Without any, everybody may send turns.
    pub ingest_tokens: Vec<Secret>,
    /// Tokens for reading and changing data, and named ones for sending turns. Without any, nobody may.
    pub api_tokens: Vec<ApiToken>,
    /// Header that names the user whom a trusted proxy signed in.
    pub user_header: Option<UserHeader>,
    /// Role of the users that the header names.
    pub user_role: Option<Role>,
    /// Allows everybody to read and change data.
    pub no_token: bool,
    /// File that preserves the list of signed-out sessions over a restart.
    pub signed_out: Option<PathBuf>,
    /// Maximum number of failed attempts per address and minute; further ones are answered with 429. 0 disables the
    /// limit.
    pub refusals_a_minute: u32,
}

impl AccessSettings {
    /// Returns the tokens for sending turns: those of the webhooks, and API tokens with that role.
    pub fn ingest_secrets(&self) -> Vec<Secret> {
        let named = self.api_tokens.iter().filter(|token| token.role == Role::Ingest);
        self.ingest_tokens.iter().chain(named.map(|token| &token.secret)).cloned().collect()
    }
}

/// The access control; cheap to clone.
#[derive(Clone)]
pub struct AccessControl(pub(super) Arc<Inner>, pub(super) AccessLog);

pub(super) struct Inner {
    ingest: Tokens,
    pub(super) api: ApiTokens,
    user_header: Option<UserHeader>,
    user_role: Role,
    pub(super) no_token: bool,
    pub(super) signed_out: SignedOut,
    refusals: RateLimiter,
}

/// The proof that a request is allowed.
pub(super) struct Grant {
    pub(super) identity: Identity,
    /// The session, if the credential is its cookie.
    pub(super) session: Option<Session>,
}

impl Grant {
    fn without_session(identity: Identity) -> Self {
        Self { identity, session: None }
    }
}

impl AccessControl {
    /// Creates an access control with these settings. It notes accesses of known clients in the log.
    pub fn new(settings: &AccessSettings, log: AccessLog) -> Self {
        let log = if settings.no_token { AccessLog::disabled() } else { log };
        let inner = Arc::new(Inner {
            ingest: Tokens::new(&settings.ingest_secrets()),
            api: ApiTokens::new(&settings.api_tokens),
            user_header: settings.user_header.clone(),
            user_role: settings.user_role.unwrap_or(Role::Read),
            no_token: settings.no_token,
            signed_out: SignedOut::open(settings.signed_out.clone(), Timestamp::now()),
            refusals: RateLimiter::new(settings.refusals_a_minute),
        });
        Self(inner, log)
    }

    /// Returns the log of accesses.
    pub(in crate::api) fn log(&self) -> AccessLog {
        self.1.clone()
    }

    /// Returns true if turns and histories require a token.
    pub(in crate::api) fn requires_ingest_token(&self) -> bool {
        !self.0.ingest.is_empty()
    }

    /// Returns true if a delivery that was let through may be answered with data of drivers and calls, such as the
    /// summary of the last one: an ingest token was required, or the sender may read.
    pub(in crate::api) fn may_be_told(&self, request: &Request) -> bool {
        self.requires_ingest_token() || self.identify(request).is_ok_and(|granted| granted.identity.role >= Role::Read)
    }

    /// Returns true if reading requires a token.
    pub(in crate::api) fn requires_api_token(&self) -> bool {
        !self.0.no_token
    }

    /// Wraps an endpoint with access checks.
    pub fn guard<E>(&self, inner: E) -> AuthLayer<E> {
        AuthLayer { access: self.clone(), inner }
    }

    /// Checks that a request is allowed. Returns the proof if the path requires one.
    fn check(&self, request: &Request) -> Result<Option<Grant>, ApiError> {
        match RouteAccess::from_path(request.uri().path()) {
            RouteAccess::Public | RouteAccess::Signed => Ok(None),
            RouteAccess::NoWebhook => {
                Err(ApiError::NotFound(ErrorCode::NotFound, "unknown webhook path; /docs lists the webhooks".into()))
            }
            RouteAccess::Ingest if self.0.ingest.is_empty() => Ok(None),
            RouteAccess::Ingest => {
                let headers = request.headers();
                let shown = bearer(headers).into_iter().chain(header_value(headers, "x-webhook-token"));
                check_ingest(&self.0.ingest, shown)?;
                let identity = Identity { name: None, role: Role::Ingest, credential: Credential::Token };
                Ok(Some(Grant::without_session(identity)))
            }
            RouteAccess::Protected => {
                if request.uri().path() == MCP_PATH {
                    self.check_mcp_origin(request)?;
                }
                self.identify(request).map(Some)
            }
        }
    }

    /// Checks that a message to the MCP server comes from no page of another origin, as the protocol requires.
    ///
    /// Without a token, a page of this service's own origin is not accepted either: the host of its address may have
    /// been another one when the page was loaded (DNS rebinding).
    fn check_mcp_origin(&self, request: &Request) -> Result<(), ApiError> {
        let headers = request.headers();
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default();
        let host = origin.strip_prefix("http://").or(origin.strip_prefix("https://"));
        let is_own = host.is_some_and(|host| {
            let own = header_value(headers, "host");
            self.requires_api_token() && own.is_some_and(|own| own.eq_ignore_ascii_case(host.as_bytes()))
        });
        if is_own || host.is_some_and(is_loopback) {
            return Ok(());
        }
        let details = "Origin: pages of other origins may not call this".to_owned();
        Err(ApiError::Forbidden(ErrorCode::ForeignOrigin, details))
    }

    /// Returns the one who sends a request for data, with any role.
    pub(super) fn identify(&self, request: &Request) -> Result<Grant, ApiError> {
        let granted = self.grant(request)?;
        if request.method().is_safe() {
            return Ok(granted);
        }
        // A page of another origin must not change data through a user's browser.
        match (granted.identity.credential, RequestOrigin::from_request(request)) {
            (Credential::Token, _) | (_, RequestOrigin::Own) | (Credential::None, RequestOrigin::Unknown) => {
                Ok(granted)
            }
            (Credential::Session | Credential::Proxy | Credential::None, _) => {
                Err(ApiError::no_token("a change without a token must come from a page of this service"))
            }
        }
    }

    fn grant(&self, request: &Request) -> Result<Grant, ApiError> {
        if self.0.no_token {
            return Ok(Grant::without_session(Identity::anonymous()));
        }
        let headers = request.headers();
        let key =
            request.uri().path().starts_with(ELEVENLABS_PREFIX).then(|| header_value(headers, "xi-api-key")).flatten();
        let shown: Vec<_> = bearer(headers).into_iter().chain(key).collect();
        if let Some(identity) = shown.iter().find_map(|shown| self.0.api.holder_of(shown)) {
            return Ok(Grant::without_session(identity));
        }
        if let Some((session, identity)) = self.session(request) {
            return Ok(Grant { identity, session: Some(session) });
        }
        // Last, because a proxy adds the header to all requests, and a user may sign in with a token of another role.
        if let Some(name) = self.0.user_header.as_ref().and_then(|header| header.user(request)) {
            let identity = Identity { name: Some(name), role: self.0.user_role, credential: Credential::Proxy };
            return Ok(Grant::without_session(identity));
        }
        Err(if shown.is_empty() {
            ApiError::no_token("send the API token as Authorization: Bearer, or sign in at /")
        } else {
            ApiError::wrong_token("invalid API token")
        })
    }

    /// Returns the session of a request and its owner, unless the session has ended.
    pub(super) fn session(&self, request: &Request) -> Option<(Session, Identity)> {
        let (session, position) = super::session::find(request, &self.0.api.digests, Timestamp::now())?;
        let identity = self.0.api.holder_at(position, Credential::Session);
        (!self.0.signed_out.has(&session)).then_some((session, identity))
    }

    /// Ends a live stream together with its session.
    fn end_with_session(&self, session: Session, mut answer: Response) -> Response {
        if answer.content_type().is_some_and(|kind| kind.starts_with("text/event-stream")) {
            let access = self.clone();
            let stream = answer.take_body().into_bytes_stream();
            let ended = Box::pin(async move { access.0.signed_out.until_ended(session).await });
            answer.set_body(Body::from_bytes_stream(stream.take_until(ended)));
        }
        answer
    }

    /// Counts a failed attempt; returns 429 instead of the error if there were too many.
    fn count_failure(&self, error: ApiError, client: Option<Client>) -> ApiError {
        let Some(Client { address, .. }) = client else { return error };
        match self.0.refusals.count(address) {
            Ok(()) => error,
            Err(seconds) => ApiError::TooManyRefused(seconds),
        }
    }
}

/// Checks that one of the values is an ingest token. Logs a refusal, because the sending agent ignores it.
fn check_ingest<'a>(tokens: &Tokens, shown: impl Iterator<Item = &'a [u8]>) -> Result<(), ApiError> {
    let mut any = false;
    for shown in shown {
        any = true;
        if tokens.contains(shown) {
            return Ok(());
        }
    }
    if any {
        log_refusal("ingest_token", "invalid ingest token");
        return Err(ApiError::wrong_token("invalid ingest token"));
    }
    log_refusal("no_ingest_token", "a turn, history or initiation without the ingest token");
    Err(ApiError::no_token("send the ingest token as Authorization: Bearer or X-Webhook-Token"))
}

fn header_value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get(name).map(poem::http::HeaderValue::as_bytes)
}

/// Returns the token of an `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// An endpoint that is wrapped with access checks.
pub struct AuthLayer<E> {
    access: AccessControl,
    inner: E,
}

impl<E: Endpoint> Endpoint for AuthLayer<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let client = request.data::<Client>().copied();
        let granted = match self.access.check(&request) {
            Ok(granted) => granted,
            Err(error @ ApiError::Unauthorized { .. }) => return Err(self.access.count_failure(error, client).into()),
            Err(error) => return Err(error.into()),
        };
        if let Some(Grant { identity, .. }) = &granted {
            if identity.credential != Credential::None {
                request.set_data(Proved);
            }
            request.set_data(identity.clone());
        }
        match self.inner.call(request).await {
            Ok(answer) => {
                let answer = answer.into_response();
                Ok(match granted.and_then(|granted| granted.session) {
                    Some(session) => self.access.end_with_session(session, answer),
                    None => answer,
                })
            }
            // A failed signature or sign-in counts as a failed attempt.
            Err(error) => match error.downcast_ref::<ApiError>() {
                Some(refusal @ ApiError::Unauthorized { .. }) => {
                    Err(self.access.count_failure(refusal.clone(), client).into())
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
    fn a_path_that_is_not_named_requires_an_api_token() {
        for path in
            ["/docs/", "//docs", "/DOCS", "/docs%2f", "/metrics", "/api/v1/calls", "/session/x", "", "/healthz/.."]
        {
            assert_eq!(RouteAccess::from_path(path), RouteAccess::Protected, "{path:?}");
        }
        assert_eq!(RouteAccess::from_path("/webhooks/elevenlabs/transcription"), RouteAccess::Ingest);
        for path in ["/webhooks", "/webhooks/", "/webhooks/elevenlabs/transcription/", "/webhooks/../api/v1/calls"] {
            assert_eq!(RouteAccess::from_path(path), RouteAccess::NoWebhook, "{path:?}");
        }
        assert_eq!(RouteAccess::from_path("/webhooksx"), RouteAccess::Protected);
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
            assert_eq!(normalize_webhook_path(saved).as_deref(), Some(signed), "{saved}");
        }
        for other in [signed, TURN_WEBHOOK_PATH, "/", "", "/api/v1/calls/", "/webhooksx/", "/x/webhooks/", "/webhooks/"]
        {
            assert_eq!(normalize_webhook_path(other), None, "{other}");
        }
        // The result is still below the webhooks, so it is never asked for the API token.
        assert_eq!(normalize_webhook_path("/webhooks//../api/v1/calls/").as_deref(), Some("/webhooks/../api/v1/calls"));
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
