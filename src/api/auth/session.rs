//! Signing in, for the page that shows calls: whoever gives an API token gets a cookie that stands for it.
//!
//! The cookie is a random id, its end and a code over both that only the token makes. The service stores nothing for it, so it
//! outlives a restart, and ends with its token or by signing out ([`super::signed_out`]). Scripts cannot read it, and browsers
//! send it for pages of this service only. One that was set by HTTPS has another name and another code than one that was set
//! by plain HTTP, where others may read or set it; neither stands for the other.

use super::client::is_by_https;
use crate::api::date_time::Instant;
use crate::domain::Timestamp;
use crate::secret::Tokens;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem::Request;
use poem::http::header;

/// The cookie's name on plain HTTP.
pub(super) const COOKIE: &str = "transcribe_hook_session";

/// The cookie's name on HTTPS. Browsers take one of such a name from this host only, and by HTTPS only.
const SECURE_COOKIE: &str = "__Host-transcribe_hook_session";

/// How long one sign-in lasts, in seconds: a working week.
pub(super) const LASTS: i64 = 7 * 24 * 60 * 60;

/// A session's random name.
pub(super) type SessionId = [u8; 16];

/// One sign-in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    pub(super) id: SessionId,
    /// When it ends, in seconds since 1970.
    pub(super) expires: i64,
}

impl Session {
    /// What the code is over, so that it can be no other use's of the token.
    pub(super) fn signed(&self, by_https: bool) -> String {
        let scheme = if by_https { "https" } else { "http" };
        format!("transcribe-hook session {} by {scheme} until {}", URL_SAFE_NO_PAD.encode(self.id), self.expires)
    }

    pub(super) fn cookie(&self, code: &[u8]) -> String {
        format!("{}.{}.{}", self.expires, URL_SAFE_NO_PAD.encode(self.id), URL_SAFE_NO_PAD.encode(code))
    }

    /// The session of a cookie that one of the tokens made.
    fn of(cookie: &str, tokens: &Tokens, by_https: bool) -> Option<Self> {
        let (expires, rest) = cookie.split_once('.')?;
        let (id, code) = rest.split_once('.')?;
        let id = URL_SAFE_NO_PAD.decode(id).ok()?.try_into().ok()?;
        let session = Self { id, expires: expires.parse().ok()? };
        let code = URL_SAFE_NO_PAD.decode(code).ok()?;
        tokens.have_signed(session.signed(by_https).as_bytes(), &code).then_some(session)
    }

    pub(super) fn expires_at(&self) -> Option<Instant> {
        self.expires.checked_mul(1_000_000).and_then(Timestamp::from_unix_micros).map(Instant)
    }
}

/// Seconds since 1970.
pub(super) fn seconds(at: Timestamp) -> i64 {
    at.unix_micros().div_euclid(1_000_000)
}

pub(super) fn cookie_name(by_https: bool) -> &'static str {
    if by_https { SECURE_COOKIE } else { COOKIE }
}

/// Returns the session that a request's cookie belongs to, if it has not expired.
pub(super) fn find(request: &Request, tokens: &Tokens, now: Timestamp) -> Option<Session> {
    let by_https = is_by_https(request);
    let cookies = request.headers().get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut sessions = cookies.flat_map(|line| line.split(';')).filter_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == cookie_name(by_https)).then_some(value)
    });
    sessions.find_map(|cookie| Session::of(cookie, tokens, by_https).filter(|session| session.expires > seconds(now)))
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
