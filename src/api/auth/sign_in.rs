//! Operations that sign a browser in and out.

use super::access::AccessControl;
use super::api_role::ApiRole;
use super::client::{Scheme, scheme_of};
use super::identity::require;
use super::session::{SESSION_SECONDS, Session, cookie_name, seconds};
use crate::api::body::{FormBody, JsonBody, JsonOk};
use crate::api::date_time::DateTime;
use crate::api::error::{ApiError, Errors, SignInErrors};
use crate::api::tag::Tag;
use crate::domain::{Identity, Role, Timestamp};
use crate::secret::random_bytes;
use poem::Request;
use poem_openapi::types::Example;
use poem_openapi::{ApiRequest, ApiResponse, Object, OpenApi, payload::Json};
use serde::Deserialize;

/// Maximum size of a sign-in body, in bytes. It is small because the sender has no token yet.
const MAX_BODY_BYTES: usize = 2048;

pub(in crate::api) struct SessionApi {
    pub(in crate::api) access: AccessControl,
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
    /// True if the client may read at least lists, because of its session, token or user, or because none is required.
    allowed: bool,
    /// True if sign-in is possible; false with `--no-token`.
    sign_in: bool,
    /// Expiry of this session; null without one.
    #[oai(nullable)]
    expires_at: Option<DateTime>,
    #[oai(nullable)]
    role: Option<ApiRole>,
    /// Name of the token or user; null without one.
    #[oai(nullable)]
    user: Option<String>,
}

impl Permission {
    /// Returns the permissions of a client; `identity` is `None` if it is not known.
    fn new(access: &AccessControl, identity: Option<Identity>, session: Option<Session>) -> Self {
        let role = identity.as_ref().map(|identity| identity.role);
        Self {
            allowed: role.is_some_and(|role| role >= Role::List),
            sign_in: !access.0.no_token,
            expires_at: session.and_then(|session| session.expires_at()),
            role: role.map(Into::into),
            user: identity.and_then(|identity| identity.name).map(|name| name.as_str().to_owned()),
        }
    }
}

impl Example for Permission {
    fn example() -> Self {
        let expires_at = Timestamp::parse("2026-10-05T12:00:00Z").ok().map(DateTime);
        Self { allowed: true, sign_in: true, expires_at, role: Some(ApiRole::Read), user: Some("anna".to_owned()) }
    }
}

#[derive(ApiResponse)]
enum SessionChanged {
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
    async fn get_session(&self, request: &Request) -> JsonOk<Permission> {
        let identity = self.access.identify(request).ok().map(|granted| granted.identity);
        let session = self.access.session(request).map(|(session, _)| session);
        JsonOk(Permission::new(&self.access, identity, session))
    }

    /// Sign in
    ///
    /// Exchanges an API token for a cookie. The session lasts one week, or until it is signed out or the service no
    /// longer has the token. With the cookie, a browser may read, and may make the changes that a page of this service
    /// requests. On HTTPS the cookie's name begins with `__Host-`.
    #[oai(path = "/session", method = "post", operation_id = "sign_in")]
    async fn sign_in(&self, request: &Request, body: SignIn) -> Result<SessionChanged, Errors<SignInErrors>> {
        let Credentials { token } = match body {
            SignIn::Json(body) => serde_json::from_slice(&body.bytes)
                .map_err(|_| ApiError::field("token", "must be a string in a JSON object"))?,
            SignIn::Form(body) => body.read()?,
        };
        let id = random_bytes().map_err(|error| ApiError::Internal(format!("no random bytes: {error}")))?;
        let session = Session { id, expires: seconds(Timestamp::now()) + SESSION_SECONDS };
        let signed = session.sign_cookie(scheme_of(request));
        let (api, token) = (&self.access.0.api, token.trim().as_bytes());
        let (Some(identity), Some(code)) = (api.holder_of(token), api.digests.sign(token, signed.as_bytes())) else {
            return Err(ApiError::wrong_token("invalid API token").into());
        };
        require(&identity, Role::List, "sign-in")?;
        let permission = Permission::new(&self.access, Some(identity), Some(session));
        Ok(SessionChanged::Done(Json(permission), set_cookie(request, &session.cookie(&code), SESSION_SECONDS)))
    }

    /// Sign out
    ///
    /// Ends the session of the cookie: all copies of the cookie become invalid, and the session's live streams end.
    #[oai(path = "/session", method = "delete", operation_id = "sign_out")]
    async fn sign_out(&self, request: &Request) -> SessionChanged {
        if let Some((session, _)) = self.access.session(request) {
            self.access.0.signed_out.add(session).await;
        }
        let identity = self.access.identify(request).ok().map(|granted| granted.identity);
        let permission = Permission::new(&self.access, identity, None);
        SessionChanged::Done(Json(permission), set_cookie(request, "", 0))
    }
}

/// Returns the `Set-Cookie` header that sets or deletes the cookie.
fn set_cookie(request: &Request, value: &str, seconds: i64) -> String {
    let scheme = scheme_of(request);
    let (name, secure) = (cookie_name(scheme), if scheme == Scheme::Https { "; Secure" } else { "" });
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}
