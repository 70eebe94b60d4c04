//! Serves one connection, request by request.

use super::body::{RequestBody, ResponseBody};
use super::limits::ConnectionLimits;
use super::table::{BoxedBody, ConnectionSlot, ConnectionState, ConnectionTable, Phase};
use super::tracked_stream::TrackedStream;
use crate::api::error::ApiError;
use crate::api::error_code::ErrorCode;
use crate::server::request_layer::RequestLayer;
use crate::server::tls::is_challenge;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use poem::http::uri::Scheme;
use poem::http::{HeaderValue, Version, header};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Body, Endpoint, Request};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch as channel};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

/// Maximum size of a request's head, in bytes. A longer one is answered with 431 and no body.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Size of the read buffer of each connection, in bytes.
const READ_BUFFER_BYTES: usize = 32 * 1024;

/// Maximum size of an unread body's rest that is read, in bytes.
const MAX_REST_BYTES: u64 = 64 * 1024;

/// Timeout for reading this rest.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// Timeout for a request head that is being received when the service stops.
pub(super) const SHUTDOWN_HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// The response if all connections are busy.
const OVERLOADED: ApiError =
    ApiError::Unavailable(ErrorCode::Overloaded, "all connections are busy; try again shortly", None);

pub(super) struct Server<E> {
    pub(super) app: RequestLayer<E>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) local: LocalAddr,
    pub(super) table: Arc<ConnectionTable>,
    pub(super) rejections: Semaphore,
    pub(super) limits: ConnectionLimits,
    /// Becomes true when the service stops; every connection holds a receiver.
    pub(super) stopping: channel::Sender<bool>,
}

/// Reads the rest of a request's body if it is short, so the connection can be reused. Returns true if all of it was
/// read.
async fn read_rest(rest: Option<BoxedBody>, state: &ConnectionState) -> bool {
    let Some(mut body) = rest else { return false };
    if body.size_hint().lower() > MAX_REST_BYTES {
        return false;
    }
    let reading = async {
        let mut left = MAX_REST_BYTES;
        while let Some(frame) = body.frame().await {
            let length = frame.ok()?.data_ref().map_or(0, Bytes::len);
            left = left.checked_sub(length as u64)?;
        }
        Some(())
    };
    let is_read = matches!(tokio::time::timeout(REST_TIMEOUT, reading).await, Ok(Some(())));
    if is_read {
        state.transition(Phase::Work);
    }
    is_read
}

/// Returns true if a client without support for chunks can see where the response ends.
fn has_known_length<B: hyper::body::Body>(answer: &hyper::Response<B>) -> bool {
    answer.body().size_hint().exact().is_some() || answer.headers().contains_key(header::CONTENT_LENGTH)
}

/// The decision about a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Its requests are answered.
    Accepted,
    /// Its first request gets 503.
    Rejected,
}

/// Serves a connection to its end.
pub(super) async fn serve_connection<E: Endpoint + 'static>(
    server: &Arc<Server<E>>,
    slot: &ConnectionSlot,
    stream: TcpStream,
    peer: SocketAddr,
    stopping: &mut channel::Receiver<bool>,
    admission: Admission,
) {
    let state = slot.state();
    let stream = TrackedStream::new(stream, state.clone());
    let (stream, scheme) = match &server.tls {
        None => (Either::Left(stream), Scheme::HTTP),
        Some(acceptor) => {
            let handshake_result = tokio::select! {
                handshake_result = acceptor.accept(stream) => handshake_result,
                () = state.close_requested() => return,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            match handshake_result {
                Ok(stream) if is_challenge(stream.get_ref().1) => return,
                Ok(stream) => (Either::Right(stream), Scheme::HTTPS),
                Err(error) => {
                    tracing::debug!(target: "http", client = %peer.ip(), %error, "TLS handshake failed");
                    return;
                }
            }
        }
    };
    let remote = RemoteAddr(Addr::from(peer));
    let service = service_fn(|request: poem::http::Request<Incoming>| {
        let (server, remote, scheme, state) = (server.clone(), remote.clone(), scheme.clone(), state.clone());
        async move {
            let has_body = !request.body().is_end_stream();
            let (version, expects) = (request.version(), request.headers().contains_key(header::EXPECT));
            state.transition(if has_body { Phase::Body } else { Phase::Work });
            let mut request = Request::from((request, server.local.clone(), remote, scheme));
            if has_body {
                let body = RequestBody::new(request.take_body().into(), state.clone());
                request.set_body(Body::from(body.boxed()));
            }
            let answer = match admission {
                Admission::Accepted => server.app.answer(request).await,
                Admission::Rejected => server.app.refuse(request, OVERLOADED).await,
            };
            let mut answer = hyper::Response::from(answer);
            let rest = state.take_unread();
            let is_read = state.phase() != Phase::Body || (!expects && read_rest(rest, &state).await);
            if !is_read || (version == Version::HTTP_10 && !has_known_length(&answer)) {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                // hyper would otherwise answer an HTTP/1.0 client's keep-alive with keep-alive.
                *answer.version_mut() = version;
            }
            if answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream") {
                state.transition(Phase::Stream);
            }
            Ok::<_, Infallible>(answer.map(|body| ResponseBody::new(body, state)))
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .max_header_size(MAX_HEAD_BYTES)
            .max_buf_size(READ_BUFFER_BYTES)
            .keep_alive(admission == Admission::Accepted)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        _ = connection.as_mut() => return,
        () = state.close_requested() => return,
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    let rest = async {
        if state.phase() == Phase::Head {
            let _ = tokio::time::timeout(SHUTDOWN_HEAD_TIMEOUT, connection).await;
        } else {
            let _ = connection.await;
        }
    };
    tokio::select! {
        () = rest => {}
        () = state.close_requested() => {}
    }
}
