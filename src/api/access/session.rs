//! Sign-in for the page: an API token is exchanged for a cookie.
//!
//! The cookie contains a random id, its expiry and a code over both that only the token can produce. The service stores
//! nothing for it, so a session survives a restart. It ends with its token or by signing out ([`super::signed_out`]).
//! Scripts cannot read the cookie, and browsers send it only for pages of this service. A cookie that was set over
//! HTTPS has another name and another code than one that was set over plain HTTP, where others can read or set it.
//! Neither is accepted in place of the other.

use super::super::Tag;
use super::super::error::{ApiError, Refused, SignIn as SignInErrors};
use super::super::payload::{Done, FormBody, JsonBody};
use super::super::time::Instant;
use super::Access;
use super::client::is_by_https;
use crate::model::Timestamp;
use crate::secret::{Tokens, random_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::Request;
use poem::http::header;
use poem_openapi::types::Example;
use poem_openapi::{ApiRequest, ApiResponse, Object, OpenApi, payload::Json};
use serde::Deserialize;

/// Name of the cookie on plain HTTP.
pub(super) const COOKIE: &str = "transcribe_hook_session";

/// Name of the cookie on HTTPS. Browsers accept the prefix `__Host-` only from this host and over HTTPS.
const SECURE_COOKIE: &str = "__Host-transcribe_hook_session";

/// Lifetime of a session, in seconds.
pub(super) const LASTS: i64 = 7 * 24 * 60 * 60;

/// Maximum size of a sign-in body, in bytes. It is small because the sender has no token yet.
const MAX_BODY_BYTES: usize = 2048;

/// Random id of a session.
pub(super) type SessionId = [u8; 16];

/// A session: one sign-in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    pub(super) id: SessionId,
    /// Time of expiry, in seconds since 1970.
    pub(super) expires: i64,
}

impl Session {
    /// Returns the text that the code covers. It names its purpose, so the code is valid for nothing else.
    fn signed(&self, by_https: bool) -> String {
        let scheme = if by_https { "https" } else { "http" };
        format!("transcribe-hook session {} by {scheme} until {}", URL_SAFE_NO_PAD.encode(self.id), self.expires)
    }

    fn cookie(&self, code: &[u8]) -> String {
        format!("{}.{}.{}", self.expires, URL_SAFE_NO_PAD.encode(self.id), URL_SAFE_NO_PAD.encode(code))
    }

    /// Parses a cookie. Returns its session if one of the tokens produced it.
    fn of(cookie: &str, tokens: &Tokens, by_https: bool) -> Option<Self> {
        let (expires, rest) = cookie.split_once('.')?;
        let (id, code) = rest.split_once('.')?;
        let id = URL_SAFE_NO_PAD.decode(id).ok()?.try_into().ok()?;
        let session = Self { id, expires: expires.parse().ok()? };
        let code = URL_SAFE_NO_PAD.decode(code).ok()?;
        tokens.have_signed(session.signed(by_https).as_bytes(), &code).then_some(session)
    }

    fn expires_at(&self) -> Option<Instant> {
        self.expires.checked_mul(1_000_000).and_then(Timestamp::from_unix_micros).map(Instant)
    }
}

/// Returns a time in seconds since 1970.
pub(super) fn seconds(at: Timestamp) -> i64 {
    at.unix_micros().div_euclid(1_000_000)
}

fn cookie_name(by_https: bool) -> &'static str {
    if by_https { SECURE_COOKIE } else { COOKIE }
}

/// Returns the session of a request's cookie, if it has not expired.
pub(super) fn find(request: &Request, tokens: &Tokens, now: Timestamp) -> Option<Session> {
    let by_https = is_by_https(request);
    let cookies = request.headers().get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut sessions = cookies.flat_map(|line| line.split(';')).filter_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == cookie_name(by_https)).then_some(value)
    });
    sessions.find_map(|cookie| Session::of(cookie, tokens, by_https).filter(|session| session.expires > seconds(now)))
}

pub(in crate::api) struct SessionApi {
    pub(in crate::api) access: Access,
}

/// Credentials for sign-in.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
pub(in crate::api) struct Credentials {
    /// An API token.
    token: String,
}

impl Example for Credentials {
    fn example() -> Self {
        Self { token: "api_0123456789abcdef0123456789abcdef".to_owned() }
    }
}

/// Credentials in one of two formats.
#[derive(ApiRequest)]
enum SignIn {
    /// JSON.
    Json(JsonBody<Credentials, MAX_BODY_BYTES>),
    /// A submitted HTML form.
    Form(FormBody<Credentials, MAX_BODY_BYTES>),
}

/// Permissions of the client.
#[derive(Debug, Object)]
#[oai(example, rename = "Session")]
struct Permission {
    /// True if the client may read, because of its session or token, or because none is required.
    allowed: bool,
    /// True if sign-in is possible; false with `--no-token`.
    sign_in: bool,
    /// Expiry of this session; null without one.
    #[oai(nullable)]
    expires_at: Option<Instant>,
}

impl Example for Permission {
    fn example() -> Self {
        let expires_at = Timestamp::parse("2026-10-05T12:00:00Z").ok().map(Instant);
        Self { allowed: true, sign_in: true, expires_at }
    }
}

#[derive(ApiResponse)]
enum Changed {
    /// Success; the body has the new permissions.
    #[oai(status = 200)]
    Done(
        Json<Permission>,
        /// Sets or deletes the session cookie.
        #[oai(header = "Set-Cookie")]
        String,
    ),
}

#[expect(clippy::unused_async, reason = "the framework wants every operation to be async")]
#[OpenApi(tag = "Tag::Session")]
impl SessionApi {
    /// Get the client's permissions
    #[oai(path = "/session", method = "get", operation_id = "get_session")]
    async fn get_session(&self, request: &Request) -> Done<Permission> {
        Done(Permission {
            allowed: self.access.check_managing(request).is_ok(),
            sign_in: !self.access.0.no_token,
            expires_at: self.access.session(request).and_then(|session| session.expires_at()),
        })
    }

    /// Sign in
    ///
    /// Exchanges an API token for a cookie. The session lasts one week, or until it is signed out or the service no
    /// longer has the token. With the cookie, a browser may read, and may make the changes that a page of this service
    /// requests. On HTTPS the cookie's name begins with `__Host-`.
    #[oai(path = "/session", method = "post", operation_id = "sign_in")]
    async fn sign_in(&self, request: &Request, body: SignIn) -> Result<Changed, Refused<SignInErrors>> {
        let Credentials { token } = match body {
            SignIn::Json(body) => serde_json::from_slice(&body.bytes)
                .map_err(|_| ApiError::field("token", "must be a string in a JSON object"))?,
            SignIn::Form(body) => body.read()?,
        };
        let id = random_bytes().map_err(|error| ApiError::Internal(format!("no random bytes: {error}")))?;
        let session = Session { id, expires: seconds(Timestamp::now()) + LASTS };
        let signed = session.signed(is_by_https(request));
        let Some(code) = self.access.0.api.sign(token.trim().as_bytes(), signed.as_bytes()) else {
            return Err(ApiError::wrong_token("invalid API token").into());
        };
        let permission = Permission { allowed: true, sign_in: true, expires_at: session.expires_at() };
        Ok(Changed::Done(Json(permission), set_cookie(request, &session.cookie(&code), LASTS)))
    }

    /// Sign out
    ///
    /// Ends the session of the cookie: all copies of the cookie become invalid, and the session's live streams end.
    #[oai(path = "/session", method = "delete", operation_id = "sign_out")]
    async fn sign_out(&self, request: &Request) -> Changed {
        if let Some(session) = self.access.session(request) {
            self.access.0.signed_out.add(session).await;
        }
        let permission = Permission {
            allowed: self.access.check_managing(request).is_ok(),
            sign_in: !self.access.0.no_token,
            expires_at: None,
        };
        Changed::Done(Json(permission), set_cookie(request, "", 0))
    }
}

/// Returns the `Set-Cookie` header that sets or deletes the cookie.
fn set_cookie(request: &Request, value: &str, seconds: i64) -> String {
    let by_https = is_by_https(request);
    let (name, secure) = (cookie_name(by_https), if by_https { "; Secure" } else { "" });
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn a_session_ends_with_its_time_and_with_its_token_and_is_of_one_scheme() {
        let token = Secret::new("a_token_that_is_long_enough").unwrap();
        let other = Secret::new("another_token_before_it").unwrap();
        let tokens = Tokens::new(&[other.clone(), token.clone()]);
        let at = |seconds: i64| Timestamp::from_unix_micros(seconds * 1_000_000).unwrap();
        let session = Session { id: [7; 16], expires: 1000 };
        let cookie_by = |by_https| {
            let code = tokens.sign(token.reveal().as_bytes(), session.signed(by_https).as_bytes()).unwrap();
            session.cookie(&code)
        };
        let (http, https) = (cookie_by(false), cookie_by(true));
        let end_of = |cookie: &str, forwarded: &str, tokens: &Tokens, now| {
            let request = Request::builder().header("cookie", cookie).header("x-forwarded-proto", forwarded).finish();
            find(&request, tokens, at(now)).map(|session| session.expires)
        };
        let cookie = format!("other=1; {COOKIE}={http}");
        assert_eq!(end_of(&cookie, "http", &tokens, 999), Some(1000));
        assert_eq!(end_of(&cookie, "http", &tokens, 1000), None);
        assert_eq!(end_of(&cookie, "http", &Tokens::new(&[other]), 999), None);
        assert_eq!(end_of(&cookie, "http", &Tokens::new(&[]), 999), None);
        let (_, rest) = http.split_once('.').unwrap();
        let (id, code) = rest.split_once('.').unwrap();
        for wrong in [
            format!("1001.{rest}"),
            format!("1000.A{}.{code}", &id[1..]),
            "1000.".to_owned(),
            format!("1000.{id}"),
            rest.to_owned(),
            format!("1000.{id}.{}", &code[1..]),
        ] {
            assert_eq!(end_of(&format!("{COOKIE}={wrong}"), "http", &tokens, 999), None, "{wrong}");
        }
        assert_eq!(end_of(&format!("{COOKIE}=junk; {COOKIE}={http}"), "http", &tokens, 999), Some(1000));

        assert_eq!(end_of(&format!("{SECURE_COOKIE}={https}"), "https", &tokens, 999), Some(1000));
        for (name, cookie, scheme) in [
            (COOKIE, &http, "https"),
            (COOKIE, &https, "https"),
            (COOKIE, &https, "http"),
            (SECURE_COOKIE, &http, "https"),
            (SECURE_COOKIE, &http, "http"),
            (SECURE_COOKIE, &https, "http"),
        ] {
            assert_eq!(end_of(&format!("{name}={cookie}"), scheme, &tokens, 999), None, "{name} by {scheme}");
        }
        assert_eq!(end_of(&format!("{SECURE_COOKIE}={https}"), "https, http", &tokens, 999), Some(1000));
    }
}
