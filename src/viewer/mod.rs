//! The page on which calls are read: a shell of HTML and plain ES modules that use the public API and nothing else.
//!
//! It is made on the reader's side, since it lives there anyway: it follows calls while they run, keeps its place in a
//! list, and knows the reader's zone. So there is one source of what is shown, the API, and the page holds no call and
//! asks for no permission: whoever may not read gets a page that says so.
//!
//! Owned here: the files, packed once when the first reader comes; their names, which change with what is in them, so that a
//! browser keeps them for good; and the policy that lets the page load nothing from elsewhere, run nothing that stands in
//! it, and make no element out of a text. What each file does is said at its head, beginning with `assets/main.js`.

mod agent_setup;
mod assets;

use crate::sys::gzip::is_taken;
use assets::{Asset, Page};
use poem::endpoint::make_sync;
use poem::error::NotFoundError;
use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use poem::{Endpoint, IntoEndpoint, IntoResponse, Request, Response, Route, RouteMethod, get};

/// The paths of the page, for the log and for the methods that they take.
pub const PATHS: [&str; 2] = ["/", "/assets/{version}/{file}"];

/// Only this service's own files, no inline script or style, and no text that is read as HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      media-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// The page, and behind it all else.
pub fn before(rest: impl IntoEndpoint) -> impl Endpoint<Output = Response> {
    let files = Route::new().at("/assets/:version/:file", get(files()));
    Before { shell: get(shell()), files, rest: rest.into_endpoint() }
}

/// A route of its own for "/" would give way to one for all paths, as the API's is, so it is told apart here.
struct Before<E> {
    shell: RouteMethod,
    files: Route,
    rest: E,
}

impl<E: Endpoint> Endpoint for Before<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        match request.uri().path() {
            "/" => self.shell.call(request).await,
            path if path.starts_with("/assets/") => self.files.call(request).await,
            _ => self.rest.call(request).await.map(IntoResponse::into_response),
        }
    }
}

/// The page itself, which is asked for anew each time and mostly found unchanged.
fn shell() -> impl Endpoint<Output = Response> {
    make_sync(|request: Request| {
        let mut answer = answer(&request, &Page::get().shell, "no-cache");
        for (name, value) in [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::REFERRER_POLICY, "same-origin"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ] {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    })
}

/// What the page is made of. A name holds the digest of all files, so what it names never changes.
fn files() -> impl Endpoint<Output = Response> {
    make_sync(|request: Request| {
        let page = Page::get();
        let (version, name) = request.path_params::<(String, String)>()?;
        let asset = page.file(&version, &name).ok_or(NotFoundError)?;
        Ok::<_, poem::Error>(answer(&request, asset, "public, max-age=31536000, immutable"))
    })
}

fn answer(request: &Request, asset: &Asset, caching: &str) -> Response {
    let accepted = request.headers().get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let packed = is_taken(accepted);
    let response = Response::builder()
        .header(header::ETAG, asset.tag(packed))
        .header(header::CACHE_CONTROL, caching)
        .header(header::VARY, "Accept-Encoding")
        .header("cross-origin-resource-policy", "same-origin");
    if holds(request.headers(), asset.tag(packed)) {
        return response.status(StatusCode::NOT_MODIFIED).finish();
    }
    let response = response.content_type(asset.content_type);
    if packed {
        response.header(header::CONTENT_ENCODING, "gzip").body(asset.packed.clone())
    } else {
        response.body(asset.plain.clone())
    }
}

/// Whether the client says that it holds what has this tag.
fn holds(headers: &HeaderMap, tag: &str) -> bool {
    let held = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    held.flat_map(|value| value.split(',')).any(|held| held.trim().trim_start_matches("W/") == tag)
}
