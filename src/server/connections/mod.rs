//! Connections: how many there are, how long each may keep the service waiting, and their end.
//!
//! The framework's own server sets neither a number nor a time for heads, so this serves its endpoints on hyper itself. One
//! table knows of each open connection what is waited for ([`table`]), which costs a request two stores to memory and no
//! timer. By it, what takes too long is closed; and when there is no place left, a new connection takes the place of the
//! one that has been idle or unfinished the longest, or else of the oldest live stream, of which a quarter of the places
//! cannot be taken. So those who hold connections open keep out nobody who has something to say, and short requests do not
//! keep all streams out. Only when every connection is at work is a new one told 503.
//!
//! A connection is closed after an answer only if the request's body was not read to its end, which is done where little
//! of it is left.
//!
//! HTTP/1.1 alone is spoken: one request at a time on a connection is what the table goes by.

mod body;
mod limits;
mod table;
mod tracked_stream;

use super::request_layer::Edge;
use super::tls::is_challenge;
use crate::api::error::ApiError;
use body::{Arriving, Leaving};
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
use table::{Inner, Open, Phase, Table, Watch};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch as channel};
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;
use tracked_stream::Watched;

/// Greatest length of a request's head, in bytes. A longer one is answered 431 without a body.
const MAX_HEAD: usize = 16 * 1024;

/// How much is read at once, and so held for each connection, in bytes.
const BUFFER: usize = 32 * 1024;

/// How many connections beyond the limit are told so at once; others are closed without a word.
const TOLD: usize = 64;

/// How long a head that has begun to come may take once the service stops.
const LAST_HEAD: Duration = Duration::from_secs(1);

/// Size up to which the rest of a body is read that nobody wanted, in bytes.
const MAX_REST: u64 = 64 * 1024;

/// How long this rest may take.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// Files that the service opens for other things than connections.
const OTHER_FILES: u64 = 128;

/// What is told where no more is taken on.
const OVERLOADED: ApiError = ApiError::Unavailable("too many connections are at work; try again shortly", None);

/// Serves connections of `listener`, by HTTPS if there is an acceptor for it, until `stop` is ready; then requests under way
/// have `drain` to end.
///
/// # Errors
/// The system does not tell the listener's address.
pub async fn serve<E>(
    listener: TcpListener,
    app: Edge<E>,
    tls: Option<TlsAcceptor>,
    limits: ConnectionLimits,
    stop: impl Future<Output = ()>,
    drain: Duration,
) -> io::Result<()>
where
    E: Endpoint + 'static,
{
    let number = possible(limits.number);
    if number < limits.number {
        tracing::warn!(number, "the system grants too few open files for as many connections as are allowed");
    }
    let local = LocalAddr(Addr::from(listener.local_addr()?));
    let table = Table::new(number);
    let server = Arc::new(Server {
        app,
        tls,
        local,
        table,
        told: Semaphore::new(TOLD),
        limits,
        stopping: channel::Sender::new(false),
    });
    let sweeper = tokio::spawn(sweep(server.clone()));
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => admit(&server, stream, peer),
                // It went meanwhile, or the system lacks something and needs time.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    server.stopping.send_replace(true);
    let _ = tokio::time::timeout(drain, server.stopping.closed()).await;
    server.table.close_all();
    let _ = tokio::time::timeout(LAST_HEAD, server.stopping.closed()).await;
    // It holds the endpoint too, and with it the store, which has to be let go of when this returns.
    sweeper.abort();
    let _ = sweeper.await;
    Ok(())
}

struct Server<E> {
    app: Edge<E>,
    tls: Option<TlsAcceptor>,
    local: LocalAddr,
    table: Arc<Table>,
    told: Semaphore,
    limits: ConnectionLimits,
    /// Turns true when the service stops; every connection holds a receiver.
    stopping: channel::Sender<bool>,
}

/// How many connections there can be, of so many that are wanted: each is an open file.
fn possible(wanted: usize) -> usize {
    let mut files = getrlimit(Resource::Nofile);
    let enough = wanted as u64 + OTHER_FILES;
    if files.current.is_some_and(|current| current < enough) {
        // Supervisors commonly grant few at first and leave it to the program to ask for more.
        files.current = Some(files.maximum.map_or(enough, |maximum| enough.min(maximum)));
        if setrlimit(Resource::Nofile, files).is_err() {
            files = getrlimit(Resource::Nofile);
        }
    }
    let granted = files.current.map_or(enough, |current| current.min(enough));
    usize::try_from(granted.saturating_sub(OTHER_FILES)).map_or(wanted, |granted| granted.clamp(1, wanted))
}

/// Closes what takes too long, until it is aborted.
async fn sweep<E>(server: Arc<Server<E>>) {
    let shortest = server.limits.head.min(server.limits.body).min(server.limits.idle);
    let mut ticks = tokio::time::interval((shortest / 10).clamp(Duration::from_millis(20), Duration::from_secs(1)));
    loop {
        ticks.tick().await;
        let closed = server.table.close_overdue(&server.limits);
        if closed > 0 {
            tracing::debug!(target: "http", closed, "connections were closed that took too long");
        }
    }
}

/// Serves a new connection, in the place of another if need be.
fn admit<E: Endpoint + 'static>(server: &Arc<Server<E>>, stream: TcpStream, peer: SocketAddr) {
    // Answers are written in one piece; waiting for more to send with them would only delay them.
    let _ = stream.set_nodelay(true);
    let stopping = server.stopping.subscribe();
    if let Some(place) = server.table.enter() {
        let server = server.clone();
        tokio::spawn(async move {
            // The receiver goes last: that it is gone means that the endpoint is let go of.
            let (mut stopping, server, place) = (stopping, server, place);
            converse(&server, &place, stream, peer, &mut stopping, true).await;
            drop((place, server));
        });
    } else if let Ok(told) = server.told.try_acquire() {
        told.forget();
        let server = server.clone();
        tokio::spawn(async move {
            let (mut stopping, server) = (stopping, server);
            let place = server.table.aside();
            let telling = converse(&server, &place, stream, peer, &mut stopping, false);
            let _ = tokio::time::timeout(server.limits.head.min(Duration::from_secs(5)), telling).await;
            server.told.add_permits(1);
            drop((place, server));
        });
    }
}

/// Reads what is left of a request's body if it is short, so that the connection can be used again, and says whether it is.
async fn read_rest(rest: Option<Inner>, watch: &Watch) -> bool {
    let Some(mut body) = rest else { return false };
    if body.size_hint().lower() > MAX_REST {
        return false;
    }
    let reading = async {
        let mut left = MAX_REST;
        while let Some(frame) = body.frame().await {
            let length = frame.ok()?.data_ref().map_or(0, Bytes::len);
            left = left.checked_sub(length as u64)?;
        }
        Some(())
    };
    let is_read = matches!(tokio::time::timeout(REST_TIMEOUT, reading).await, Ok(Some(())));
    if is_read {
        watch.enter(Phase::Work);
    }
    is_read
}

/// Whether a client that knows no chunks sees where an answer ends.
fn tells_its_length<B: hyper::body::Body>(answer: &hyper::Response<B>) -> bool {
    answer.body().size_hint().exact().is_some() || answer.headers().contains_key(header::CONTENT_LENGTH)
}

/// Serves a connection to its end. Without `welcome` its one request is told that there are too many.
async fn converse<E: Endpoint + 'static>(
    server: &Arc<Server<E>>,
    place: &Open,
    stream: TcpStream,
    peer: SocketAddr,
    stopping: &mut channel::Receiver<bool>,
    welcome: bool,
) {
    let watch = place.watch();
    let stream = Watched::new(stream, watch.clone());
    let (stream, scheme) = match &server.tls {
        None => (Either::Left(stream), Scheme::HTTP),
        Some(acceptor) => {
            let shaken = tokio::select! {
                shaken = acceptor.accept(stream) => shaken,
                () = watch.told_to_close() => return,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            match shaken {
                Ok(stream) if is_challenge(stream.get_ref().1) => return,
                Ok(stream) => (Either::Right(stream), Scheme::HTTPS),
                Err(error) => {
                    tracing::debug!(target: "http", client = %peer.ip(), %error, "a connection was not secured");
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
            watch.enter(if has_body { Phase::Body } else { Phase::Work });
            let mut request = Request::from((request, server.local.clone(), remote, scheme));
            if has_body {
                let body = Arriving::new(request.take_body().into(), watch.clone());
                request.set_body(Body::from(body.boxed()));
            }
            let answer =
                if welcome { server.app.answer(request).await } else { server.app.refuse(request, OVERLOADED).await };
            let mut answer = hyper::Response::from(answer);
            let rest = watch.take_unread();
            let is_read = watch.phase() != Phase::Body || (!expects && read_rest(rest, &watch).await);
            if !is_read || (version == Version::HTTP_10 && !tells_its_length(&answer)) {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                // To an older client's keep-alive, hyper would otherwise add the opposite.
                *answer.version_mut() = version;
            }
            if answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream") {
                watch.enter(Phase::Stream);
            }
            Ok::<_, Infallible>(answer.map(|body| Leaving::new(body, watch)))
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .max_header_size(MAX_HEAD)
            .max_buf_size(BUFFER)
            .keep_alive(welcome)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        _ = connection.as_mut() => return,
        () = watch.told_to_close() => return,
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    let rest = async {
        if watch.phase() == Phase::Head {
            let _ = tokio::time::timeout(LAST_HEAD, connection).await;
        } else {
            let _ = connection.await;
        }
    };
    tokio::select! {
        () = rest => {}
        () = watch.told_to_close() => {}
    }
}
