//! Packs JSON answers for clients that take it: a page of calls becomes a tenth as long, which is what a reader far away waits
//! for. Streams, recordings and what is short stay as they are.

use crate::packing::{Effort, is_taken, pack};
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Body, Endpoint, IntoEndpoint, IntoResponse as _, Request, Response};

/// What is shorter, in bytes, fits a packet anyway.
const LEAST: usize = 1200;

/// An endpoint whose answers are packed.
pub(super) struct Packed<E>(E);

impl<E: Endpoint> Packed<E> {
    pub(super) fn new(inner: impl IntoEndpoint<Endpoint = E>) -> Self {
        Self(inner.into_endpoint())
    }
}

impl<E: Endpoint> Endpoint for Packed<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let accepted =
            request.headers().get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let wanted = *request.method() == Method::GET && is_taken(accepted);
        let mut answer = self.0.call(request).await?.into_response();
        let is_json = answer.content_type().is_some_and(|kind| kind.starts_with("application/json"));
        if answer.status() != StatusCode::OK || !is_json {
            return Ok(answer);
        }
        answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if !wanted {
            return Ok(answer);
        }
        let body = answer.take_body().into_bytes().await?;
        if body.len() < LEAST {
            answer.set_body(body);
        } else {
            answer.set_body(Body::from(pack(&body, Effort::Quick)));
            answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(answer)
    }
}
