//! Findings of `doctor` on this machine: the signing secret, the disk, and who may read the files.

use crate::cli::args::secrets::{ByDoctor, Secrets, WebhookSecret};
use crate::sys::atomic_file;
use crate::sys::paths::parent_dir;
use crate::telemetry::findings::Finding;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Free space of the database's disk below which it is a problem, in bytes.
const FULL_DISK_BYTES: u64 = 100 << 20;

/// Free space of the database's disk below which it is mentioned, in bytes.
const SHORT_DISK_BYTES: u64 = 1 << 30;

/// Permissions of others than owner and group.
const OTHERS: u32 = 0o007;

/// Permissions of others than the owner.
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
        findings.extend(mode(file, GROUP_AND_OTHERS, "600"));
    }
    if database.exists() {
        findings.extend(mode(database, OTHERS, "640"));
    } else {
        let text = format!("there is no database {} yet", database.display());
        findings.push(Finding::warning("database", text, "start `serve`, or pass its --database"));
    }
    findings.extend(disk(parent_dir(database)));
    findings
}

/// Returns a finding if others have these permissions for a file.
fn mode(file: &Path, refused: u32, wanted: &str) -> Option<Finding> {
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

fn disk(folder: &Path) -> Option<Finding> {
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

/// Adds a secret to a file as a new line, or only tests whether that is possible. The file is created if it is missing;
/// only its owner may read it.
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
