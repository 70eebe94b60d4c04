//! CORS: pages of the configured origins may read with a token, and nothing else. Cookies are never accepted from them.

use crate::domain::Invalid;
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use poem::{Request, Response};
use std::str::FromStr;

/// An origin, in the form of the `Origin` header.
#[derive(Debug, Clone)]
pub struct Origin(HeaderValue);

impl FromStr for Origin {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let uri: Option<Uri> = text.parse().ok();
        let parts = uri.as_ref().and_then(|uri| uri.scheme_str().zip(uri.authority()));
        // A browser never sends anything else, such as a path or an upper-case letter.
        let is_origin = parts.is_some_and(|(scheme, authority)| {
            ["http", "https"].contains(&scheme)
                && text == format!("{scheme}://{authority}")
                && !text.contains(['@', '*'])
        });
        let is_lower_case = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        HeaderValue::from_str(text).ok().filter(|_| is_origin && is_lower_case).map(Self).ok_or_else(|| {
            Invalid("must be http:// or https:// and a lower-case host, optionally with a port, without a path".into())
        })
    }
}

/// Headers that a page may send: those of this API, and those that ElevenLabs' SDK sends with each request.
const REQUEST_HEADERS: &str = "Authorization, Last-Event-ID, Range, X-Request-Id, Xi-Api-Key, X-Fern-Language, \
    X-Fern-SDK-Name, X-Fern-SDK-Version, X-Fern-Runtime, X-Fern-Runtime-Version";

/// Origins whose pages may read.
#[derive(Debug, Clone, Default)]
pub struct Origins(Vec<Origin>);

impl Origins {
    /// Allows these origins.
    pub fn new(origins: Vec<Origin>) -> Self {
        Self(origins)
    }

    /// Returns the origin of the page that sent a request, if it is allowed.
    pub(super) fn allowed_origin(&self, request: &Request) -> Option<HeaderValue> {
        request
            .headers()
            .get(header::ORIGIN)
            .filter(|origin| self.0.iter().any(|Origin(allowed)| allowed == origin))
            .cloned()
    }

    /// Returns the response to a CORS preflight request of an allowed page, or `None` if the request is not one.
    pub(super) fn preflight(request: &Request) -> Option<Response> {
        let is_preflight = request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        is_preflight.then(|| {
            Response::builder()
                .status(StatusCode::NO_CONTENT)
                .header(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD")
                .header(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS)
                .header(header::ACCESS_CONTROL_MAX_AGE, "600")
                .finish()
        })
    }

    /// Adds the headers that allow the page to read the response.
    pub(super) fn allow(&self, origin: Option<HeaderValue>, headers: &mut HeaderMap) {
        if !self.0.is_empty() {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let shown = HeaderValue::from_static("Content-Disposition, Content-Range, Retry-After, X-Request-Id");
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, shown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for origin in ["https://portal.example.com", "http://localhost:5173", "https://[::1]:8443"] {
            assert!(origin.parse::<Origin>().is_ok(), "{origin}");
        }
        for other in [
            "",
            "*",
            "null",
            "portal.example.com",
            "https://",
            "https://h/",
            "https://H",
            "ftp://h",
            "https://u@h",
            "https://h?x",
            "https://*.example.com",
        ] {
            assert!(other.parse::<Origin>().is_err(), "{other}");
        }
    }
}
