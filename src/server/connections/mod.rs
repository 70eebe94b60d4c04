//! HTTP connections: their number, their timeouts and their shutdown.
//!
//! The framework's own server limits neither the number of connections nor the time for request heads, so this module
//! serves the framework's endpoints with hyper directly. One table ([`table`]) has the current phase of every open
//! connection. It costs each request two atomic stores and needs no timer.
//!
//! Connections that exceed their timeout are closed. At the connection limit, a new connection evicts the one that has
//! been idle (or unfinished) the longest, or else the oldest live stream, so idle clients cannot lock others out. A
//! quarter of the connections are reserved for live streams, so short requests cannot evict all streams. If all
//! connections are busy, a new one gets 503.
//!
//! A connection is closed after a response only if the request's body was not read completely. A short rest of a body
//! is read for this reason.
//!
//! Only HTTP/1.1 is supported, because the table assumes one request at a time per connection.

mod body;
mod limits;
mod table;
mod tracked_stream;

use super::request_layer::RequestLayer;
use super::tls::is_challenge;
use crate::api::error::ApiError;
use body::{RequestBody, ResponseBody};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
pub use limits::ConnectionLimits;
use poem::http::uri::Scheme;
use poem::http::{HeaderValue, Version, header};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Body, Endpoint, Request};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use table::{ConnectionSlot, ConnectionState, ConnectionTable, Inner, Phase};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch as channel};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;
use tracked_stream::TrackedStream;

/// Maximum size of a request's head, in bytes. A longer one is answered with 431 and no body.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Size of the read buffer of each connection, in bytes.
const READ_BUFFER_BYTES: usize = 32 * 1024;

/// Maximum number of concurrent rejections with 503; further connections are closed without a response.
const MAX_REJECTING: usize = 64;

/// Timeout for a request head that is being received when the service stops.
const SHUTDOWN_HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum size of an unread body's rest that is read, in bytes.
const MAX_REST_BYTES: u64 = 64 * 1024;

/// Timeout for reading this rest.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// Number of file descriptors that are reserved for anything but connections.
const RESERVED_FILES: u64 = 128;

/// The response if all connections are busy.
const OVERLOADED: ApiError = ApiError::Unavailable("all connections are busy; try again shortly", None);

/// Serves connections of `listener`, over HTTPS if there is a TLS acceptor, until `stop` is ready. Then running
/// requests have `drain` to end.
///
/// # Errors
/// The listener's address is not available.
pub async fn serve<E>(
    listener: TcpListener,
    app: RequestLayer<E>,
    tls: Option<TlsAcceptor>,
    limits: ConnectionLimits,
    stop: impl Future<Output = ()>,
    drain: Duration,
) -> io::Result<()>
where
    E: Endpoint + 'static,
{
    let number = max_connections(limits.number);
    if number < limits.number {
        tracing::warn!(number, "open file limit too low; reduced the maximum number of connections");
    }
    let local = LocalAddr(Addr::from(listener.local_addr()?));
    let table = ConnectionTable::new(number);
    let server = Arc::new(Server {
        app,
        tls,
        local,
        table,
        rejections: Semaphore::new(MAX_REJECTING),
        limits,
        stopping: channel::Sender::new(false),
    });
    let sweeper = tokio::spawn(sweep(server.clone()));
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => accept_connection(&server, stream, peer),
                // The client has gone, or the system lacks resources and needs time.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    server.stopping.send_replace(true);
    let _ = tokio::time::timeout(drain, server.stopping.closed()).await;
    server.table.close_all();
    let _ = tokio::time::timeout(SHUTDOWN_HEAD_TIMEOUT, server.stopping.closed()).await;
    // The task holds the endpoint and its store, and both must be dropped when this function returns.
    sweeper.abort();
    let _ = sweeper.await;
    Ok(())
}

struct Server<E> {
    app: RequestLayer<E>,
    tls: Option<TlsAcceptor>,
    local: LocalAddr,
    table: Arc<ConnectionTable>,
    rejections: Semaphore,
    limits: ConnectionLimits,
    /// Becomes true when the service stops; every connection holds a receiver.
    stopping: channel::Sender<bool>,
}

/// Returns the maximum number of connections that the open file limit allows, at most `wanted`.
fn max_connections(wanted: usize) -> usize {
    let mut files = getrlimit(Resource::Nofile);
    let enough = wanted as u64 + RESERVED_FILES;
    if files.current.is_some_and(|current| current < enough) {
        // Supervisors commonly set a low soft limit, and expect the program to raise it.
        files.current = Some(files.maximum.map_or(enough, |maximum| enough.min(maximum)));
        if setrlimit(Resource::Nofile, files).is_err() {
            files = getrlimit(Resource::Nofile);
        }
    }
    let granted = files.current.map_or(enough, |current| current.min(enough));
    usize::try_from(granted.saturating_sub(RESERVED_FILES)).map_or(wanted, |granted| granted.clamp(1, wanted))
}

/// Closes connections that exceed their timeout, until the task is aborted.
async fn sweep<E>(server: Arc<Server<E>>) {
    let shortest = server.limits.head.min(server.limits.body).min(server.limits.idle);
    let mut ticks = tokio::time::interval((shortest / 10).clamp(Duration::from_millis(20), Duration::from_secs(1)));
    loop {
        ticks.tick().await;
        let closed = server.table.close_overdue(&server.limits);
        if closed > 0 {
            tracing::debug!(target: "http", closed, "closed connections that exceeded a timeout");
        }
    }
}

/// Serves a new connection, if necessary in place of another one.
fn accept_connection<E: Endpoint + 'static>(server: &Arc<Server<E>>, stream: TcpStream, peer: SocketAddr) {
    // Responses are written at once; Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    let stopping = server.stopping.subscribe();
    if let Some(slot) = server.table.enter() {
        let server = server.clone();
        tokio::spawn(async move {
            // The receiver is dropped last, because its drop signals that the endpoint is no longer in use.
            let (mut stopping, server, slot) = (stopping, server, slot);
            serve_request(&server, &slot, stream, peer, &mut stopping, true).await;
            drop((slot, server));
        });
    } else if let Ok(permit) = server.rejections.try_acquire() {
        permit.forget();
        let server = server.clone();
        tokio::spawn(async move {
            let (mut stopping, server) = (stopping, server);
            let slot = server.table.enter_uncounted();
            let rejection = serve_request(&server, &slot, stream, peer, &mut stopping, false);
            let _ = tokio::time::timeout(server.limits.head.min(Duration::from_secs(5)), rejection).await;
            server.rejections.add_permits(1);
            drop((slot, server));
        });
    }
}

/// Reads the rest of a request's body if it is short, so the connection can be reused. Returns true if all of it was
/// read.
async fn read_rest(rest: Option<Inner>, watch: &ConnectionState) -> bool {
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
        watch.transition(Phase::Work);
    }
    is_read
}

/// Returns true if a client without support for chunks can see where the response ends.
fn has_known_length<B: hyper::body::Body>(answer: &hyper::Response<B>) -> bool {
    answer.body().size_hint().exact().is_some() || answer.headers().contains_key(header::CONTENT_LENGTH)
}

/// Serves a connection to its end. Without `accepted`, the first request gets 503.
async fn serve_request<E: Endpoint + 'static>(
    server: &Arc<Server<E>>,
    slot: &ConnectionSlot,
    stream: TcpStream,
    peer: SocketAddr,
    stopping: &mut channel::Receiver<bool>,
    accepted: bool,
) {
    let watch = slot.watch();
    let stream = TrackedStream::new(stream, watch.clone());
    let (stream, scheme) = match &server.tls {
        None => (Either::Left(stream), Scheme::HTTP),
        Some(acceptor) => {
            let handshake_result = tokio::select! {
                handshake_result = acceptor.accept(stream) => handshake_result,
                () = watch.close_requested() => return,
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
        let (server, remote, scheme, watch) = (server.clone(), remote.clone(), scheme.clone(), watch.clone());
        async move {
            let has_body = !request.body().is_end_stream();
            let (version, expects) = (request.version(), request.headers().contains_key(header::EXPECT));
            watch.transition(if has_body { Phase::Body } else { Phase::Work });
            let mut request = Request::from((request, server.local.clone(), remote, scheme));
            if has_body {
                let body = RequestBody::new(request.take_body().into(), watch.clone());
                request.set_body(Body::from(body.boxed()));
            }
            let answer =
                if accepted { server.app.answer(request).await } else { server.app.refuse(request, OVERLOADED).await };
            let mut answer = hyper::Response::from(answer);
            let rest = watch.take_unread();
            let is_read = watch.phase() != Phase::Body || (!expects && read_rest(rest, &watch).await);
            if !is_read || (version == Version::HTTP_10 && !has_known_length(&answer)) {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                // hyper would otherwise answer an HTTP/1.0 client's keep-alive with keep-alive.
                *answer.version_mut() = version;
            }
            if answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream") {
                watch.transition(Phase::Stream);
            }
            Ok::<_, Infallible>(answer.map(|body| ResponseBody::new(body, watch)))
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .max_header_size(MAX_HEAD_BYTES)
            .max_buf_size(READ_BUFFER_BYTES)
            .keep_alive(accepted)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        _ = connection.as_mut() => return,
        () = watch.close_requested() => return,
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    let rest = async {
        if watch.phase() == Phase::Head {
            let _ = tokio::time::timeout(SHUTDOWN_HEAD_TIMEOUT, connection).await;
        } else {
            let _ = connection.await;
        }
    };
    tokio::select! {
        () = rest => {}
        () = watch.close_requested() => {}
    }
}
