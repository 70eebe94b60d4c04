//! Findings of `doctor` on this machine: the signing secret, the disk, and who may read the files.

use crate::cli::args::secrets::{ByDoctor, Secrets, WebhookSecret};
use crate::sys::atomic_file;
use crate::sys::paths::parent_dir;
use crate::telemetry::findings::Finding;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Minimum free space on the database's disk, in bytes. Less is a problem.
const FULL_DISK_BYTES: u64 = 100 << 20;

/// Free space on the database's disk that is enough, in bytes. Less is a warning.
const SHORT_DISK_BYTES: u64 = 1 << 30;

/// Permissions of everyone except the owner and the group.
const OTHERS: u32 = 0o007;

/// Permissions of everyone except the owner.
const GROUP_AND_OTHERS: u32 = 0o077;

/// Returns what is found on this machine.
pub(super) fn findings(
    database: &Path,
    secrets: &Secrets<WebhookSecret, ByDoctor>,
    has_no_secret: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(if has_no_secret {
        Finding::skipped(
            "signing_secret",
            "this command was given no signing secret, so it cannot tell whether `serve` has one",
            "pass --elevenlabs-secret-file, as `serve` has it; without it every post-call event is refused",
        )
    } else {
        Finding::ok("signing_secret", "there is a signing secret")
    });
    for file in secrets.files() {
        findings.extend(mode_finding(file, GROUP_AND_OTHERS, "600"));
    }
    if database.exists() {
        findings.extend(mode_finding(database, OTHERS, "640"));
    } else {
        let text = format!("there is no database {} yet", database.display());
        findings.push(Finding::warning("database", text, "start `serve`, or pass its --database"));
    }
    findings.extend(disk_finding(parent_dir(database)));
    findings
}

/// Returns a warning if a file has any of the refused permissions.
fn mode_finding(file: &Path, refused: u32, wanted: &str) -> Option<Finding> {
    let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o777;
    let name = file.display();
    (mode & refused != 0).then(|| {
        Finding::warning(
            "file_mode",
            format!("others may access {name} (mode {mode:o})"),
            format!("chmod {wanted} {name}"),
        )
    })
}

/// Returns the finding about the free space on the disk of a folder.
fn disk_finding(folder: &Path) -> Option<Finding> {
    let space = rustix::fs::statvfs(folder).ok()?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let text = format!("{} MiB are free on the disk of {}", free >> 20, folder.display());
    let remedy = "free some space; without any, turns are refused";
    Some(if free < FULL_DISK_BYTES {
        Finding::problem("disk", text, remedy)
    } else if free < SHORT_DISK_BYTES {
        Finding::warning("disk", text, remedy)
    } else {
        Finding::ok("disk", text)
    })
}

/// Appends a secret to a file as a line. Without a secret, writes the file unchanged, which checks that it can be
/// written. A missing file is created; only its owner may read it.
pub(super) fn add_secret(file: &Path, secret: Option<&str>) -> io::Result<()> {
    let mut text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    if let Some(secret) = secret {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(secret);
        text.push('\n');
    }
    atomic_file::write(file, text.as_bytes())
}
