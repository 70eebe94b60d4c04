//! Operations by which a browser signs in and out.

use super::access::Access;
use super::client::is_by_https;
use super::session::{LASTS, Session, cookie_name, seconds};
use crate::api::body::{Done, FormBody, JsonBody};
use crate::api::date_time::Instant;
use crate::api::error::{ApiError, Refused, SignIn as SignInErrors};
use crate::api::tag::Tag;
use crate::domain::Timestamp;
use crate::secret::random_bytes;
use poem::Request;
use poem_openapi::types::Example;
use poem_openapi::{ApiRequest, ApiResponse, Object, OpenApi, payload::Json};
use serde::Deserialize;

/// Maximum size of a sign-in's body, in bytes: it comes before any token.
const MAX_BODY_BYTES: usize = 2048;

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
    Json(JsonBody<Credentials, MAX_BODY_BYTES>),
    /// As a page's form sends them.
    Form(FormBody<Credentials, MAX_BODY_BYTES>),
}

/// What whoever asks may do.
#[derive(Debug, Object)]
#[oai(example, rename = "Session")]
struct Permission {
    /// Whether reading is allowed, be it by this session, by a token, or because none is needed.
    allowed: bool,
    /// Whether one can sign in; not where the service was started with `--no-token`.
    sign_in: bool,
    /// When this session ends; null without one.
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
    /// Done; the body says what is allowed now.
    #[oai(status = 200)]
    Done(
        Json<Permission>,
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
    async fn get_session(&self, request: &Request) -> Done<Permission> {
        Done(Permission {
            allowed: self.access.check_managing(request).is_ok(),
            sign_in: !self.access.0.no_token,
            expires_at: self.access.session(request).and_then(|session| session.expires_at()),
        })
    }

    /// Sign in
    ///
    /// Takes an API token and sets a cookie that stands for it for a week, or until it is signed out or the service no longer
    /// has the token. With the cookie, a browser may read, and may change what a page of this very service asks it to change.
    /// On HTTPS the cookie's name begins with `__Host-`.
    #[oai(path = "/session", method = "post", operation_id = "sign_in")]
    async fn sign_in(&self, request: &Request, body: SignIn) -> Result<Changed, Refused<SignInErrors>> {
        let Credentials { token } = match body {
            SignIn::Json(body) => serde_json::from_slice(&body.bytes)
                .map_err(|_| ApiError::field("token", "must be text in a JSON object"))?,
            SignIn::Form(body) => body.read()?,
        };
        let id = random_bytes().map_err(|error| ApiError::Internal(format!("no random bytes: {error}")))?;
        let session = Session { id, expires: seconds(Timestamp::now()) + LASTS };
        let signed = session.signed(is_by_https(request));
        let Some(code) = self.access.0.api.sign(token.trim().as_bytes(), signed.as_bytes()) else {
            return Err(ApiError::wrong_token("the token is not the API token").into());
        };
        let permission = Permission { allowed: true, sign_in: true, expires_at: session.expires_at() };
        Ok(Changed::Done(Json(permission), set_cookie(request, &session.cookie(&code), LASTS)))
    }

    /// Sign out
    ///
    /// Ends the session of the cookie: it, and whatever copy of it there is, reads nothing more, and its live streams end.
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

/// The header that sets the cookie.
fn set_cookie(request: &Request, value: &str, seconds: i64) -> String {
    let by_https = is_by_https(request);
    let (name, secure) = (cookie_name(by_https), if by_https { "; Secure" } else { "" });
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}
