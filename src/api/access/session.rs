//! Signing in, for the page that shows calls: whoever gives an API token gets a cookie that stands for it.
//!
//! The cookie is its end and a code over that which only the token makes, so nothing is kept here: it outlives a restart, and
//! ends with its token. Scripts cannot read it, and browsers send it for pages of this service only.

use super::super::Tag;
use super::super::error::{ApiError, Refused, SignIn as SignInErrors};
use super::super::payload::{Done, FormBody, JsonBody};
use super::super::time::Instant;
use super::Access;
use crate::model::Timestamp;
use crate::secret::Tokens;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::Request;
use poem::http::{HeaderMap, header, uri::Scheme};
use poem_openapi::types::Example;
use poem_openapi::{ApiRequest, ApiResponse, Object, OpenApi, payload::Json};
use serde::Deserialize;

/// The cookie's name.
pub(super) const COOKIE: &str = "transcribe_hook_session";

/// How long one sign-in lasts, in seconds: a working week.
const LASTS: i64 = 7 * 24 * 60 * 60;

/// What the code is over, so that it can be no other use's of the token.
fn signed(end: i64) -> String {
    format!("transcribe-hook session until {end}")
}

/// When the session ends that a request belongs to, if it belongs to one that has not ended.
pub(super) fn end(headers: &HeaderMap, tokens: &Tokens, now: Timestamp) -> Option<Timestamp> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut sessions = cookies.flat_map(|line| line.split(';')).filter_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    });
    sessions.find_map(|session| {
        let (end, code) = session.split_once('.')?;
        let end: i64 = end.parse().ok()?;
        let ends = Timestamp::from_unix_micros(end.checked_mul(1_000_000)?)?;
        let code = URL_SAFE_NO_PAD.decode(code).ok()?;
        (ends > now && tokens.have_signed(signed(end).as_bytes(), &code)).then_some(ends)
    })
}

pub(in crate::api) struct SessionApi {
    pub(in crate::api) access: Access,
}

/// What to sign in with.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
pub(in crate::api) struct Credentials {
    /// An API token of the service.
    token: String,
}

impl Example for Credentials {
    fn example() -> Self {
        Self { token: "api_0123456789abcdef0123456789abcdef".to_owned() }
    }
}

/// Credentials, in either form.
#[derive(ApiRequest)]
enum SignIn {
    /// As JSON.
    Json(JsonBody<Credentials>),
    /// As a page's form sends them.
    Form(FormBody<Credentials>),
}

/// What whoever asks may do.
#[derive(Debug, Object)]
#[oai(example)]
struct Session {
    /// Whether reading is allowed, be it by this session, by a token, or because none is needed.
    allowed: bool,
    /// Whether one can sign in: the service has an API token.
    sign_in: bool,
    /// When this session ends; null without one.
    #[oai(nullable)]
    expires_at: Option<Instant>,
}

impl Example for Session {
    fn example() -> Self {
        let expires_at = Timestamp::parse("2026-10-05T12:00:00Z").ok().map(Instant);
        Self { allowed: true, sign_in: true, expires_at }
    }
}

#[derive(ApiResponse)]
enum Changed {
    /// Done; the body says what is allowed now.
    #[oai(status = 200)]
    Done(
        Json<Session>,
        /// The session's cookie, or its removal.
        #[oai(header = "Set-Cookie")]
        String,
    ),
}

#[expect(clippy::unused_async, reason = "the framework wants every operation to be async")]
#[OpenApi(tag = "Tag::Session")]
impl SessionApi {
    /// May I read, and can I sign in?
    #[oai(path = "/session", method = "get", operation_id = "get_session")]
    async fn get_session(&self, request: &Request) -> Done<Session> {
        Done(Session {
            allowed: self.access.check_managing(request).is_ok(),
            sign_in: !self.access.0.api.is_empty(),
            expires_at: end(request.headers(), &self.access.0.api, Timestamp::now()).map(Instant),
        })
    }

    /// Sign in
    ///
    /// Takes an API token and sets a cookie that stands for it for a week, or until the service no longer has the token. With
    /// the cookie, a browser may read, and may change what a page of this very service asks it to change.
    #[oai(path = "/session", method = "post", operation_id = "sign_in")]
    async fn sign_in(&self, request: &Request, body: SignIn) -> Result<Changed, Refused<SignInErrors>> {
        let Credentials { token } = match body {
            SignIn::Json(body) => serde_json::from_slice(&body.bytes)
                .map_err(|_| ApiError::field("token", "must be text in a JSON object"))?,
            SignIn::Form(body) => body.read()?,
        };
        let end = Timestamp::now().unix_micros().div_euclid(1_000_000) + LASTS;
        let Some(code) = self.access.0.api.sign(token.trim().as_bytes(), signed(end).as_bytes()) else {
            return Err(ApiError::wrong_token("the token is not the API token").into());
        };
        let expires_at = Timestamp::from_unix_micros(end * 1_000_000).map(Instant);
        let cookie = cookie(request, &format!("{end}.{}", URL_SAFE_NO_PAD.encode(code)), LASTS);
        Ok(Changed::Done(Json(Session { allowed: true, sign_in: true, expires_at }), cookie))
    }

    /// Sign out
    ///
    /// Takes the cookie away. What holds a copy of it keeps it until it ends; only another token ends it sooner.
    #[oai(path = "/session", method = "delete", operation_id = "sign_out")]
    async fn sign_out(&self, request: &Request) -> Changed {
        let session = Session {
            allowed: self.access.0.api.is_empty() && self.access.check_managing(request).is_ok(),
            sign_in: !self.access.0.api.is_empty(),
            expires_at: None,
        };
        Changed::Done(Json(session), cookie(request, "", 0))
    }
}

/// The header that sets the cookie.
fn cookie(request: &Request, value: &str, seconds: i64) -> String {
    // Also when it is a proxy that has the certificate. Who says so without one only loses the cookie.
    let forwarded = request.header("x-forwarded-proto").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    let secure = if request.scheme() == &Scheme::HTTPS || forwarded { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn a_session_ends_with_its_time_and_with_its_token() {
        let token = Secret::new("a_token_that_is_long_enough").unwrap();
        let tokens = Tokens::new(&[Secret::new("another_token_before_it").unwrap(), token.clone()]);
        let at = |seconds: i64| Timestamp::from_unix_micros(seconds * 1_000_000).unwrap();
        let code = tokens.sign(token.reveal().as_bytes(), signed(1000).as_bytes()).unwrap();
        let code = URL_SAFE_NO_PAD.encode(code);
        let end_of = |cookie: &str, tokens: &Tokens, now| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, cookie.parse().unwrap());
            end(&headers, tokens, at(now))
        };
        let cookie = format!("other=1; {COOKIE}=1000.{code}");
        assert_eq!(end_of(&cookie, &tokens, 999), Some(at(1000)));
        assert_eq!(end_of(&cookie, &tokens, 1000), None);
        assert_eq!(end_of(&cookie, &Tokens::new(&[Secret::new("another_token_before_it").unwrap()]), 999), None);
        assert_eq!(end_of(&cookie, &Tokens::new(&[]), 999), None);
        for wrong in [format!("1001.{code}"), "1000.".to_owned(), code.clone(), format!("1000.{}", &code[1..])] {
            assert_eq!(end_of(&format!("{COOKIE}={wrong}"), &tokens, 999), None, "{wrong}");
        }
        assert_eq!(end_of(&format!("{COOKIE}=junk; {COOKIE}=1000.{code}"), &tokens, 999), Some(at(1000)));
    }
}
