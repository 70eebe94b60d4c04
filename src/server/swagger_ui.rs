//! The OpenAPI document, and the Swagger UI page that shows it. All of the page's files come from this service, so it
//! works offline.

use crate::sys::gzip::{accepts_gzip, decompress};
use bytes::Bytes;
use poem::endpoint::make_sync;
use poem::http::{HeaderValue, header};
use poem::{Endpoint, Request, Response};
use std::sync::LazyLock;

/// Content security policy: inline scripts and styles, requests to this service only.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Swagger UI, compressed with gzip to a quarter of its size. The page loads the OpenAPI document from the service.
///
/// The file is part of the source, because a build script that writes it would compile the framework a second time. The
/// test `the_page_is_that_of_the_framework_in_use` in `tests/it/server/swagger_ui.rs` fails when it is outdated, and
/// writes a new one.
static PACKED_PAGE: &[u8] = include_bytes!("swagger-ui.html.gz");

/// Swagger UI without compression, for clients that do not accept gzip. It is decompressed once, on first use.
static PAGE: LazyLock<Bytes> = LazyLock::new(|| decompress(PACKED_PAGE).into());

/// Returns the endpoint that serves Swagger UI.
pub(super) fn page() -> impl Endpoint<Output = Response> {
    make_sync(|request: Request| {
        let accepted =
            request.headers().get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let mut answer = if accepts_gzip(accepted) {
            let mut answer = answer("text/html; charset=utf-8", Bytes::from_static(PACKED_PAGE));
            answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            answer
        } else {
            answer("text/html; charset=utf-8", PAGE.clone())
        };
        answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        answer
    })
}

/// Returns the endpoint that serves the OpenAPI document.
pub(super) fn document(json: String) -> impl Endpoint<Output = Response> {
    let json = Bytes::from(json);
    make_sync(move |_| answer("application/json", json.clone()))
}

fn answer(content_type: &str, content: Bytes) -> Response {
    Response::builder()
        .content_type(content_type)
        .header(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY)
        .header(header::CACHE_CONTROL, "no-cache")
        .body(content)
}
