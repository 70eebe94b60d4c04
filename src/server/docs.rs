//! The API's document, and the Swagger UI page that shows it. The page holds all that it needs, so it works offline.

use poem::endpoint::make_sync;
use poem::http::header;
use poem::{Endpoint, Response};

/// The page's scripts and styles stand in it, and it asks only this service.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the framework's page lacks: without a viewport, a phone shows it as a shrunken desktop; without an icon, a
/// browser asks for one.
const HEAD: &str = "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
                    <link rel=\"icon\" href=\"data:,\"><title>transcribe-hook API</title>";

/// Swagger UI, from the page that the framework makes.
pub(super) fn page(html: &str) -> impl Endpoint<Output = Response> + use<> {
    let html = format!("<!doctype html>{}", html.trim_start())
        .replacen("<html charset=\"UTF-8\">", "<html lang=\"en\">", 1)
        .replacen("<title>Swagger UI</title>", HEAD, 1);
    fixed("text/html; charset=utf-8", html)
}

/// The document itself.
pub(super) fn document(json: String) -> impl Endpoint<Output = Response> {
    fixed("application/json", json)
}

/// Always the same bytes, which all answers share.
fn fixed(content_type: &'static str, content: String) -> impl Endpoint<Output = Response> {
    let content = bytes::Bytes::from(content);
    make_sync(move |_| {
        Response::builder()
            .content_type(content_type)
            .header(header::CONTENT_SECURITY_POLICY, POLICY)
            .body(content.clone())
    })
}
