//! The layer that serves the page's files.

use super::assets::{Asset, AssetBundle, Encoding};
use crate::sys::gzip::accepts_gzip;
use poem::endpoint::make_sync;
use poem::error::NotFoundError;
use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use poem::{Endpoint, IntoEndpoint, IntoResponse, Request, Response, Route, RouteMethod, get};

/// Paths of the page, for the log and the allowed methods.
pub const PATHS: [&str; 2] = ["/", "/assets/{version}/{file}"];

/// Content security policy: only files of this service, no inline script or style, and no text parsed as HTML.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; \
                      media-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// Wraps an endpoint: the page's paths are served here, all others by `rest`.
pub fn layer(rest: impl IntoEndpoint) -> impl Endpoint<Output = Response> {
    let files = Route::new().at("/assets/:version/:file", get(files()));
    ViewerLayer { shell: get(index_html()), files, rest: rest.into_endpoint() }
}

/// A layer with the page's routes. A route for "/" would lose against the API's route for all paths, so it is matched
/// here.
struct ViewerLayer<E> {
    shell: RouteMethod,
    files: Route,
    rest: E,
}

impl<E: Endpoint> Endpoint for ViewerLayer<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        match request.uri().path() {
            "/" => self.shell.call(request).await,
            path if path.starts_with("/assets/") => self.files.call(request).await,
            _ => self.rest.call(request).await.map(IntoResponse::into_response),
        }
    }
}

/// Returns the endpoint of the HTML shell, which browsers revalidate on each visit.
fn index_html() -> impl Endpoint<Output = Response> {
    make_sync(|request: Request| {
        let mut answer = respond(&request, &AssetBundle::get().shell, "no-cache");
        for (name, value) in [
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
            (header::REFERRER_POLICY, "same-origin"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ] {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    })
}

/// Returns the endpoint of the page's files. Their path contains the digest of all files, so they never change.
fn files() -> impl Endpoint<Output = Response> {
    make_sync(|request: Request| {
        let page = AssetBundle::get();
        let (version, name) = request.path_params::<(String, String)>()?;
        let asset = page.file(&version, &name).ok_or(NotFoundError)?;
        Ok::<_, poem::Error>(respond(&request, asset, "public, max-age=31536000, immutable"))
    })
}

fn respond(request: &Request, asset: &Asset, caching: &str) -> Response {
    let accepted = request.headers().get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let encoding = if accepts_gzip(accepted) { Encoding::Gzip } else { Encoding::Identity };
    let body = asset.body(encoding);
    let response = Response::builder()
        .header(header::ETAG, &body.tag)
        .header(header::CACHE_CONTROL, caching)
        .header(header::VARY, "Accept-Encoding")
        .header("cross-origin-resource-policy", "same-origin");
    if is_cached(request.headers(), &body.tag) {
        return response.status(StatusCode::NOT_MODIFIED).finish();
    }
    let response = response.content_type(asset.content_type);
    let response = match encoding {
        Encoding::Identity => response,
        Encoding::Gzip => response.header(header::CONTENT_ENCODING, "gzip"),
    };
    response.body(body.bytes.clone())
}

/// Returns true if the client's cache has the version with this tag.
fn is_cached(headers: &HeaderMap, tag: &str) -> bool {
    let held = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    held.flat_map(|value| value.split(',')).any(|held| held.trim().trim_start_matches("W/") == tag)
}
