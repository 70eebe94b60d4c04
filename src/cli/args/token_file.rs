//! The token file `<database>.token`: the API token that `serve` generates if none is configured.
//!
//! Commands on the same machine read it. It has one token per line, so an operator can rotate the token without a gap,
//! and add tokens with names and roles.
//! Only its owner may read it.

use crate::api::auth::{ApiToken, check_holders};
use crate::domain::Role;
use crate::secret::{Secret, random_bytes};
use crate::sys::atomic_file;
use crate::sys::files;
use crate::sys::paths::{parent_dir, with_suffix};
use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::fs::OFlags;
use rustix::process::geteuid;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Maximum size of the token file, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Returns the path of a database's token file.
pub(in crate::cli) fn path(database: &Path) -> PathBuf {
    with_suffix(database, ".token")
}

/// Reads the tokens of a file, or returns `None` if the file does not exist.
///
/// # Errors
/// The file cannot be read, or is not a list of tokens.
pub(in crate::cli) fn read(path: &Path) -> Result<Option<Vec<ApiToken>>> {
    open(path)?.map(|file| tokens(file, path)).transpose()
}

/// Reads the tokens of a file. If the file does not exist, creates it with a new token.
///
/// # Errors
/// The file cannot be read or created, is not a list of tokens, or its token may have been chosen by another user:
/// through a link, or as the file's owner.
pub(in crate::cli) fn read_or_create(path: &Path) -> Result<Vec<ApiToken>> {
    let heir = heir(path).with_context(|| path.display().to_string())?;
    let Some(file) = open(path)? else { return Ok(vec![ApiToken::parse(&create(path, &heir)?)?]) };
    let name = path.display();
    let metadata = file.metadata().with_context(|| name.to_string())?;
    let user = geteuid();
    let own = [user.as_raw(), 0, if user.is_root() { heir.uid() } else { 0 }];
    ensure!(own.contains(&metadata.uid()), "{name}: belongs to user {}; delete it to get a new token", metadata.uid());
    ensure!(metadata.nlink() == 1, "{name}: has {} names (hard links); delete it to get a new token", metadata.nlink());
    if metadata.mode() & 0o077 != 0 {
        let mode = format!("{:o}", metadata.mode() & 0o777);
        file.set_permissions(Permissions::from_mode(0o600)).with_context(|| name.to_string())?;
        tracing::warn!(
            file = %name, mode, "token file was readable by others, so its mode is now 600; delete it for a new token"
        );
    }
    files::give_to_owner_of(&file, &heir).with_context(|| name.to_string())?;
    tokens(file, path)
}

/// Returns the first token whose holder may manage everything.
pub(in crate::cli) fn manager(tokens: &[ApiToken]) -> Option<&ApiToken> {
    tokens.iter().find(|token| token.role == Role::Manage)
}

/// Returns the metadata of the owner of a token file: that of its database, or else of the folder.
fn heir(path: &Path) -> io::Result<Metadata> {
    fs::symlink_metadata(path.with_extension("")).or_else(|_| fs::metadata(parent_dir(path)))
}

/// Opens a regular file without following a symbolic link. Returns `None` if it does not exist.
fn open(path: &Path) -> Result<Option<File>> {
    // Opening a pipe would block without NONBLOCK.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if path.is_symlink() => {
            return Err(error).with_context(|| format!("{}: must not be a symbolic link", path.display()));
        }
        opened => opened.with_context(|| path.display().to_string())?,
    };
    let metadata = file.metadata().with_context(|| path.display().to_string())?;
    ensure!(metadata.is_file(), "{}: must be a regular file", path.display());
    ensure!(metadata.len() <= MAX_FILE_BYTES, "{}: must be at most {MAX_FILE_BYTES} bytes", path.display());
    Ok(Some(file))
}

fn tokens(file: File, path: &Path) -> Result<Vec<ApiToken>> {
    let name = path.display();
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).with_context(|| name.to_string())?;
    let mut tokens = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let token = Secret::new(line).and_then(|text| ApiToken::parse(&text));
        tokens.push(token.with_context(|| format!("{name}: line {}", number + 1))?);
    }
    if tokens.is_empty() {
        bail!("{name}: contains no token; delete it, and `serve` creates a new one");
    }
    check_holders(&tokens).with_context(|| name.to_string())?;
    Ok(tokens)
}

/// Creates the file. It gets its name once it is complete and on disk. If root creates it, it belongs to the owner of
/// the database, whose service must read it.
fn create(path: &Path, heir: &Metadata) -> Result<Secret> {
    let name = || format!("cannot create {}", path.display());
    let bytes = random_bytes::<32>().with_context(name)?;
    let token = Secret::new(&format!("th_{}", URL_SAFE_NO_PAD.encode(bytes))).with_context(name)?;
    atomic_file::write_new(path, format!("{}\n", token.expose()).as_bytes()).with_context(name)?;
    if let Some(file) = open(path)? {
        files::give_to_owner_of(&file, heir).with_context(name)?;
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_token_is_made_once_and_a_lost_one_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder.path().join("calls.db"));
        assert!(read(&path).unwrap().is_none());
        let made = read_or_create(&path).unwrap();
        assert_eq!(made[0].secret.expose().len(), "th_".len() + 43);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        for again in [read_or_create(&path).unwrap(), read(&path).unwrap().unwrap()] {
            assert_eq!(again[0].secret.expose(), made[0].secret.expose());
        }
        fs::remove_file(&path).unwrap();
        assert_ne!(read_or_create(&path).unwrap()[0].secret.expose(), made[0].secret.expose());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn several_lines_are_several_tokens_and_what_others_can_read_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.db.token");
        fs::write(&path, "a_token_that_is_long_enough\n\n another_token_after_it \n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let tokens = read_or_create(&path).unwrap();
        let tokens: Vec<_> = tokens.iter().map(|token| token.secret.expose()).collect();
        assert_eq!(tokens, ["a_token_that_is_long_enough", "another_token_after_it"]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_others_may_have_put_there_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.db.token");
        let elsewhere = folder.path().join("elsewhere");
        let refused = |why: &str| {
            let said = format!("{:#}", read_or_create(&path).unwrap_err());
            assert!(said.contains(why) && said.contains("calls.db.token") && !said.contains("short\u{e9}"), "{said}");
            if path.is_dir() {
                fs::remove_dir(&path).unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
        };
        symlink(&elsewhere, &path).unwrap();
        refused("symbolic link");
        assert!(!elsewhere.exists());
        fs::write(&elsewhere, "a_token_that_is_long_enough\n").unwrap();
        symlink(&elsewhere, &path).unwrap();
        refused("symbolic link");
        fs::hard_link(&elsewhere, &path).unwrap();
        refused("hard links");
        fs::create_dir(&path).unwrap();
        refused("regular file");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        refused("regular file");
        for (text, why) in
            [("", "no token"), ("\n \n", "no token"), ("short\u{e9}\n", "line 1"), ("fifteen_letters", "16")]
        {
            fs::write(&path, text).unwrap();
            refused(why);
        }
    }
}
