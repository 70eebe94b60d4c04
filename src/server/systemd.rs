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

/// Returns the unit of the system manager that runs this process as its main process.
pub(super) fn unit() -> Option<String> {
    // Other variables of systemd are inherited by programs that are started in a unit, such as by a shell in a
    // terminal.
    let main: u32 = std::env::var("SYSTEMD_EXEC_PID").ok()?.parse().ok()?;
    if main != std::process::id() {
        return None;
    }
    unit_of(&std::fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// Returns the unit in a list of control groups
/// (<https://man7.org/linux/man-pages/man7/cgroups.7.html>). Those of users have another manager.
fn unit_of(cgroups: &str) -> Option<String> {
    let paths = cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let mut units = paths.filter(|path| !path.starts_with("/user.slice/")).filter_map(|path| {
        let name = path.rsplit('/').next()?;
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte));
        (name.ends_with(".service") && is_plain).then(|| name.to_owned())
    });
    units.next()
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}

#[cfg(test)]
mod tests {
    use super::unit_of;

    #[test]
    fn the_unit_of_the_system_is_found_in_either_version_of_control_groups() {
        for (cgroups, unit) in [
            ("0::/system.slice/transcribe-hook.service\n", Some("transcribe-hook.service")),
            ("0::/system.slice/system-hook.slice/hook@two.service\n", Some("hook@two.service")),
            ("4:memory:/\n1:name=systemd:/system.slice/hook.service\n", Some("hook.service")),
            ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/hook.service\n", None),
            ("0::/system.slice/docker-0123.scope\n", None),
            ("0::/system.slice/a b;c.service\n", None),
            ("0::/\n", None),
            ("no list", None),
            ("", None),
        ] {
            assert_eq!(unit_of(cgroups).as_deref(), unit, "{cgroups:?}");
        }
    }
}
