//! Sign-in for the page: an API token is exchanged for a cookie.
//!
//! The cookie contains a random id, its expiry and a code over both that only the token can produce. The service stores
//! nothing for it, so a session survives a restart. It ends with its token or by signing out ([`super::signed_out`]).
//! Scripts cannot read the cookie, and browsers send it only for pages of this service. A cookie that was set over
//! HTTPS has another name and another code than one that was set over plain HTTP, where others can read or set it.
//! Neither is accepted in place of the other.

use super::client::{Scheme, scheme_of};
use crate::api::date_time::DateTime;
use crate::domain::Timestamp;
use crate::secret::Tokens;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::Request;
use poem::http::header;

/// Name of the cookie on plain HTTP.
pub(super) const COOKIE: &str = "transcribe_hook_session";

/// Name of the cookie on HTTPS. Browsers accept the prefix `__Host-` only from this host and over HTTPS.
const SECURE_COOKIE: &str = "__Host-transcribe_hook_session";

/// Lifetime of a session, in seconds.
pub(super) const SESSION_SECONDS: i64 = 7 * 24 * 60 * 60;

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
    pub(super) fn sign_cookie(&self, scheme: Scheme) -> String {
        let scheme = scheme.as_str();
        format!("transcribe-hook session {} by {scheme} until {}", URL_SAFE_NO_PAD.encode(self.id), self.expires)
    }

    pub(super) fn cookie(&self, code: &[u8]) -> String {
        format!("{}.{}.{}", self.expires, URL_SAFE_NO_PAD.encode(self.id), URL_SAFE_NO_PAD.encode(code))
    }

    /// Parses a cookie. Returns its session, and the position of the token that produced it, if there is one.
    fn from_cookie(cookie: &str, tokens: &Tokens, scheme: Scheme) -> Option<(Self, usize)> {
        let (expires, rest) = cookie.split_once('.')?;
        let (id, code) = rest.split_once('.')?;
        let id = URL_SAFE_NO_PAD.decode(id).ok()?.try_into().ok()?;
        let session = Self { id, expires: expires.parse().ok()? };
        let code = URL_SAFE_NO_PAD.decode(code).ok()?;
        let position = tokens.verify(session.sign_cookie(scheme).as_bytes(), &code)?;
        Some((session, position))
    }

    pub(super) fn expires_at(&self) -> Option<DateTime> {
        self.expires.checked_mul(1_000_000).and_then(Timestamp::from_unix_micros).map(DateTime)
    }
}

/// Returns a time in seconds since 1970.
pub(super) fn seconds(at: Timestamp) -> i64 {
    at.unix_micros().div_euclid(1_000_000)
}

pub(super) fn cookie_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Http => COOKIE,
        Scheme::Https => SECURE_COOKIE,
    }
}

/// Returns the session of a request's cookie, if it has not expired, and the position of its token.
pub(super) fn find(request: &Request, tokens: &Tokens, now: Timestamp) -> Option<(Session, usize)> {
    let scheme = scheme_of(request);
    let cookies = request.headers().get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut sessions = cookies.flat_map(|line| line.split(';')).filter_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == cookie_name(scheme)).then_some(value)
    });
    sessions.find_map(|cookie| {
        Session::from_cookie(cookie, tokens, scheme).filter(|(session, _)| session.expires > seconds(now))
    })
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
        let cookie_by = |scheme| {
            let code = tokens.sign(token.expose().as_bytes(), session.sign_cookie(scheme).as_bytes()).unwrap();
            session.cookie(&code)
        };
        let (http, https) = (cookie_by(Scheme::Http), cookie_by(Scheme::Https));
        let end_of = |cookie: &str, forwarded: &str, tokens: &Tokens, now| {
            let request = Request::builder().header("cookie", cookie).header("x-forwarded-proto", forwarded).finish();
            find(&request, tokens, at(now)).map(|(session, _)| session.expires)
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
