//! The API's document, and the Swagger UI page that shows it. The page holds all that it needs, so it works offline.

use crate::api;
use bytes::Bytes;
use poem::endpoint::make_sync;
use poem::http::header;
use poem::{Endpoint, Response};
use std::sync::OnceLock;

/// The page's scripts and styles stand in it, and it asks only this service.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the framework's page lacks: without a viewport, a phone shows it as a shrunken desktop; without an icon, a
/// browser asks for one.
const HEAD: &str = "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
                    <link rel=\"icon\" href=\"data:,\"><title>transcribe-hook API</title>";

/// Swagger UI, from the page that the framework makes: megabytes, so it is made when somebody first wants it.
pub(super) fn page() -> impl Endpoint<Output = Response> {
    let page = OnceLock::new();
    make_sync(move |_| {
        let page = page.get_or_init(|| {
            let html = format!("<!doctype html>{}", api::swagger_page().trim_start())
                .replacen("<html charset=\"UTF-8\">", "<html lang=\"en\">", 1)
                .replacen("<title>Swagger UI</title>", HEAD, 1);
            Bytes::from(html)
        });
        answer("text/html; charset=utf-8", page.clone())
    })
}

/// The document itself.
pub(super) fn document(json: String) -> impl Endpoint<Output = Response> {
    let json = Bytes::from(json);
    make_sync(move |_| answer("application/json", json.clone()))
}

fn answer(content_type: &str, content: Bytes) -> Response {
    Response::builder().content_type(content_type).header(header::CONTENT_SECURITY_POLICY, POLICY).body(content)
}
