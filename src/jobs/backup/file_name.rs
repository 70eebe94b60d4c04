//! File names of backups: `<stem of the database's name>-YYYYMMDDTHHMMSSZ.db`. The name distinguishes backups from
//! other files in their folder, and contains their time.

use crate::domain::Timestamp;
use crate::sys::atomic_file::PartialFile;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn file_stem(database: &Path) -> String {
    database.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the name of a backup that starts at this time.
pub(super) fn file_name(database: &Path, time: Timestamp) -> String {
    let text = time.to_string();
    let seconds = text.split('.').next().unwrap_or_default();
    format!("{}-{}Z.db", file_stem(database), seconds.replace(['-', ':'], ""))
}

/// Returns the start of the backup with this name, or `None` if it is no backup's name.
fn parse_time(name: &str, database: &Path) -> Option<Timestamp> {
    let time = name.strip_prefix(&file_stem(database))?.strip_prefix('-')?.strip_suffix(".db")?;
    let parsed = Timestamp::parse(time).ok()?;
    (file_name(database, parsed) == name).then_some(parsed)
}

/// Returns the existing backups, the oldest first.
pub(super) fn list(folder: &Path, database: &Path) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(time) = entry.file_name().to_str().and_then(|name| parse_time(name, database)) {
            found.push((time, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Deletes unfinished backups of a killed service.
pub(super) fn remove_leftovers(folder: &Path, database: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_str().and_then(|name| name.strip_suffix(".partial"));
        if let Some(name) = name.filter(|name| parse_time(name, database).is_some()) {
            PartialFile::remove_leftover(&folder.join(name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_when_and_only_such_names_are_taken_for_backups() {
        let database = Path::new("/data/calls.v2.db");
        let time = Timestamp::parse("2026-09-28T12:00:05.25Z").unwrap();
        let name = file_name(database, time);
        assert_eq!(name, "calls.v2-20260928T120005Z.db");
        assert_eq!(parse_time(&name, database), Some(Timestamp::parse("2026-09-28T12:00:05Z").unwrap()));
        for other in [
            "calls.v2.db",
            "calls.v2-20260928T120005Z.db.partial",
            "calls.v2-20260928T1200Z.db",
            "calls.v2-2026-09-28T12:00:05Z.db",
            "calls.v2-20261328T120005Z.db",
            "calls-20260928T120005Z.db",
            "calls.v2-20260928T120005Z",
            "calls.v2-before-upgrade.db",
        ] {
            assert_eq!(parse_time(other, database), None, "{other}");
        }
    }
}
