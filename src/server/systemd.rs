//! What the supervisor that started the service is told: systemd's `sd_notify`. Without a supervisor that wants to be
//! told (`NOTIFY_SOCKET`), nothing is.
//!
//! `READY=1` once connections are taken and the database is migrated, `STOPPING=1` when the service begins to stop, and
//! `WATCHDOG=1` as long as the writer answers the probe that `/readyz` makes. That it answers is what counts: a disk that
//! is full makes the service not ready, but starting it anew would not empty the disk. What the probe says stands in the
//! status that `systemctl status` shows.

use crate::ingest::{WriteError, Writer};
use sd_notify::NotifyState;

pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("ready")]);
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Tells the supervisor that the service lives, often enough for it, as long as it does.
pub(super) async fn stay_alive(writer: Writer) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    loop {
        match writer.probe().await {
            Ok(()) => tell(&[NotifyState::Watchdog, NotifyState::Status("ready")]),
            Err(WriteError::Failed(error)) => {
                tell(&[NotifyState::Watchdog, NotifyState::Status(&format!("not ready: {error}").replace('\n', " "))]);
            }
            Err(error) => {
                tracing::warn!(?error, "the writer does not answer; the supervisor is not told that it lives");
            }
        }
        tokio::time::sleep(limit / 3).await;
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the supervisor cannot be told how the service does");
    }
}
