//! Accepts connections, and closes them at their limits and at the stop.

use super::connection::{Admission, SHUTDOWN_HEAD_TIMEOUT, Server, serve_connection};
use super::limits::ConnectionLimits;
use super::table::ConnectionTable;
use crate::server::request_layer::RequestLayer;
use poem::web::LocalAddr;
use poem::{Addr, Endpoint};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch as channel};
use tokio_rustls::TlsAcceptor;

/// Maximum number of concurrent rejections with 503; further connections are closed without a response.
const MAX_REJECTING: usize = 64;

/// Number of file descriptors that are reserved for anything but connections.
const RESERVED_FILES: u64 = 128;

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
            serve_connection(&server, &slot, stream, peer, &mut stopping, Admission::Accepted).await;
            drop((slot, server));
        });
    } else if let Ok(permit) = server.rejections.try_acquire() {
        permit.forget();
        let server = server.clone();
        tokio::spawn(async move {
            let (mut stopping, server) = (stopping, server);
            let slot = server.table.enter_uncounted();
            let rejection = serve_connection(&server, &slot, stream, peer, &mut stopping, Admission::Rejected);
            let _ = tokio::time::timeout(server.limits.head.min(Duration::from_secs(5)), rejection).await;
            server.rejections.add_permits(1);
            drop((slot, server));
        });
    }
}
