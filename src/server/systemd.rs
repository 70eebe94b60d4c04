//! Notifications to systemd (`sd_notify`). Without `NOTIFY_SOCKET`, nothing is sent.
//!
//! The service sends `READY=1` once the database is migrated and connections are accepted, `STOPPING=1` when it begins
//! to stop, and `WATCHDOG=1` as long as the writer responds to the probe of `/readyz`. Even a failed probe counts as a
//! response: a full disk makes the service unready, but a restart would not free space. The result of the probe is
//! shown by `systemctl status`.

use crate::ingest::{WriteError, Writer};
use sd_notify::NotifyState;

pub(super) fn ready() {
    notify(&[NotifyState::Ready, NotifyState::Status("ready")]);
}

pub(super) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Notifies systemd's watchdog as long as the writer responds.
pub(super) async fn watchdog(writer: Writer) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    loop {
        match writer.probe().await {
            Ok(()) => notify(&[NotifyState::Watchdog, NotifyState::Status("ready")]),
            Err(WriteError::Failed(error)) => {
                notify(&[
                    NotifyState::Watchdog,
                    NotifyState::Status(&format!("not ready: {error}").replace('\n', " ")),
                ]);
            }
            Err(error) => {
                tracing::warn!(?error, "writer does not respond; watchdog not notified");
            }
        }
        tokio::time::sleep(limit / 3).await;
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
