//! Signed-out sessions. Their cookies still have a valid code, so the sessions are remembered until they expire.
//!
//! Memory is bounded: beyond the maximum, all sessions that exist at that moment end. A file beside the database
//! preserves the list over a restart. If it cannot be read, all sessions end.

use super::session::{SESSION_SECONDS, Session, SessionId, seconds};
use crate::domain::Timestamp;
use crate::sys::atomic_file;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Maximum number of remembered sessions.
const MAX_SESSIONS: usize = 1024;

/// Maximum size of the file, in bytes; larger than the maximum number of sessions needs.
const MAX_FILE_BYTES: u64 = 64 * MAX_SESSIONS as u64;

/// The list of signed-out sessions; cheap to clone.
#[derive(Clone)]
pub(super) struct SignedOut(Arc<Inner>);

struct Inner {
    ended: watch::Sender<EndedSessions>,
    /// Locked while the file is written.
    file: Mutex<Option<PathBuf>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct EndedSessions {
    /// All sessions that expire at or before this time have ended, in seconds since 1970.
    all_until: i64,
    /// Other ended sessions, with the time at which each expires, in seconds since 1970.
    sessions: BTreeMap<SessionId, i64>,
}

impl EndedSessions {
    fn has(&self, session: &Session) -> bool {
        session.expires <= self.all_until || self.sessions.contains_key(&session.id)
    }

    fn add(&mut self, session: &Session, now: i64) {
        self.sessions.retain(|_, expires| *expires > now);
        if self.sessions.len() < MAX_SESSIONS {
            self.sessions.insert(session.id, session.expires);
        } else {
            *self = Self::all(now);
        }
    }

    /// Returns a list that ends all sessions that exist now.
    fn all(now: i64) -> Self {
        Self { all_until: now + SESSION_SECONDS, sessions: BTreeMap::new() }
    }

    fn text(&self) -> String {
        let line = |(id, expires): (&SessionId, &i64)| format!("{} {expires}\n", URL_SAFE_NO_PAD.encode(id));
        format!("all {}\n", self.all_until) + &self.sessions.iter().map(line).collect::<String>()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let all_until = lines.next()?.strip_prefix("all ")?.parse().ok()?;
        let session = |line: &str| {
            let (id, expires) = line.split_once(' ')?;
            Some((URL_SAFE_NO_PAD.decode(id).ok()?.try_into().ok()?, expires.parse().ok()?))
        };
        Some(Self { all_until, sessions: lines.map(session).collect::<Option<_>>()? })
    }
}

impl SignedOut {
    /// Opens the list, from its file if there is one.
    pub(super) fn open(file: Option<PathBuf>, now: Timestamp) -> Self {
        let ended = match file.as_deref().map(read) {
            None => EndedSessions::default(),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => EndedSessions::default(),
            Some(Ok(ended)) => ended,
            Some(Err(error)) => {
                let file = file.as_deref().map(Path::display);
                let file = file.map(tracing::field::display);
                tracing::warn!(file, %error, "sign-outs unreadable; all sessions end");
                EndedSessions::all(seconds(now))
            }
        };
        Self(Arc::new(Inner { ended: watch::Sender::new(ended), file: Mutex::new(file) }))
    }

    pub(super) fn has(&self, session: &Session) -> bool {
        self.0.ended.borrow().has(session)
    }

    /// Waits until a session expires or is signed out.
    pub(super) async fn until_ended(&self, session: Session) {
        let left = session.expires - seconds(Timestamp::now());
        let mut ended = self.0.ended.subscribe();
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(left.try_into().unwrap_or(0))) => {}
            _ = ended.wait_for(|ended| ended.has(&session)) => {}
        }
    }

    /// Ends a session at once, and stores that.
    pub(super) async fn add(&self, session: Session) {
        self.0.ended.send_modify(|ended| ended.add(&session, seconds(Timestamp::now())));
        let this = self.clone();
        let saved = tokio::task::spawn_blocking(move || this.save()).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!(%error, "sign-out not stored; it is valid until the service stops");
        }
    }

    fn save(&self) -> io::Result<()> {
        // Nobody changes the path while the lock is held.
        let file = self.0.file.lock();
        let Some(path) = file.as_deref() else { return Ok(()) };
        let text = self.0.ended.borrow().text();
        atomic_file::write(path, text.as_bytes())
    }
}

fn read(path: &Path) -> io::Result<EndedSessions> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "invalid list of sign-outs");
    if !file.metadata()?.is_file() {
        return Err(unreadable());
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    EndedSessions::parse(&text).ok_or_else(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(n: u32, expires: i64) -> Session {
        let mut id = SessionId::default();
        id[..4].copy_from_slice(&n.to_be_bytes());
        Session { id, expires }
    }

    #[test]
    fn sessions_are_remembered_until_they_expire_and_beyond_the_bound_all_end() {
        let mut ended = EndedSessions::default();
        ended.add(&session(0, 100), 50);
        ended.add(&session(1, 200), 50);
        assert!(ended.has(&session(0, 100)) && ended.has(&session(1, 200)) && !ended.has(&session(2, 200)));
        ended.add(&session(3, 300), 150);
        assert_eq!(ended.sessions.len(), 2, "the first has expired");
        for n in 4..5000 {
            ended.add(&session(n, 1000), 150);
            assert!(ended.sessions.len() <= MAX_SESSIONS && ended.has(&session(n, 1000)), "{n}");
        }
        assert!(ended.has(&session(9999, 150 + SESSION_SECONDS)), "one that nobody ended, of that time");
        assert!(!ended.has(&session(9999, 151 + SESSION_SECONDS)), "one that was begun later");
    }

    #[test]
    fn the_file_says_what_is_remembered_and_anything_else_ends_all_sessions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.db.signed-out");
        let now = Timestamp::from_unix_micros(1_000_000_000).unwrap();
        let open = || SignedOut::open(Some(path.clone()), now);
        assert!(!open().has(&session(1, 2000)), "there is no file");
        let signed_out = open();
        let mut full = EndedSessions::default();
        (0..1024).for_each(|n| full.add(&session(n, i64::from(u32::MAX)), 1000));
        signed_out.0.ended.send_replace(full.clone());
        signed_out.save().unwrap();
        assert_eq!(*open().0.ended.borrow(), full);
        let long = vec![b'a'; 100_000];
        for bad in [&b""[..], b"all", b"all 1\nx 2\n", b"\xff", &long] {
            std::fs::write(&path, bad).unwrap();
            assert!(open().has(&session(1, 1000 + SESSION_SECONDS)), "{:?}", &bad[..bad.len().min(9)]);
        }
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(open().has(&session(1, 1000 + SESSION_SECONDS)));
    }
}
