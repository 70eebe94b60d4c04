//! What the system is told about sockets.

use rustix::process::{Resource, getrlimit, setrlimit};
use std::time::Duration;
use tokio::net::TcpListener;

/// Has the system cut a connection whose other end acknowledges nothing of what was sent, or leaves no room for more, for
/// so long. Connections take this over from the listener.
pub(super) fn cut_stuck_connections(listener: &TcpListener, after: Duration) -> std::io::Result<()> {
    let milliseconds = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(listener, milliseconds)?)
}

/// Lets this process have as many connections as the system allows it, rather than the 1,024 that it begins with.
pub(super) fn allow_many_connections() {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the number of open files cannot be raised");
    }
}
