//! What a database's own bytes say before SQLite opens it: whether it is ours, and whether the WAL or journal beside it is.
//!
//! SQLite takes whatever has the right name for the database's own, and would write another database's pages into it. Only
//! what is certain is refused: a copy in WAL mode that was put beside the WAL of a later state may look like its own.

use super::migrations::known_schema;
use super::open_error::OpenError;
use super::schema::APPLICATION_ID;
use crate::sys::files;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// What a file is that SQLite did not write, or that is broken from its first byte on.
pub(in crate::store::sqlite) const NO_DATABASE: &str = "no SQLite database";

/// Length of the header of a database, in bytes (<https://www.sqlite.org/fileformat.html>).
const LENGTH: usize = 100;

/// The first bytes of a database, in the main file or in a page of its WAL.
#[derive(Debug, Clone, Copy)]
struct Header([u8; LENGTH]);

impl Header {
    fn number(&self, at: usize) -> u32 {
        number(&self.0, at)
    }

    fn is_in_rollback_mode(&self) -> bool {
        self.0[18] == 1 && self.0[19] == 1
    }

    fn page_size(&self) -> u32 {
        match u32::from(u16::from_be_bytes([self.0[16], self.0[17]])) {
            1 => 65_536,
            size => size,
        }
    }

    /// Grows with changes of the first page, and never shrinks.
    fn change_counter(&self) -> u32 {
        self.number(24)
    }

    fn pages(&self) -> u32 {
        self.number(28)
    }

    /// Grows with each change of the schema.
    fn schema_cookie(&self) -> u32 {
        self.number(40)
    }

    fn user_version(&self) -> u32 {
        self.number(60)
    }

    fn application_id(&self) -> u32 {
        self.number(68)
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Opens a database's file and looks at its first bytes without SQLite, which might roll a foreign file's journal back.
///
/// The file must stay open until SQLite's connections are closed; see [`super::lock`].
///
/// # Errors
/// It is not ours, newer, or stands beside another database's WAL or journal.
pub(in crate::store::sqlite) fn open(path: &Path) -> Result<File, OpenError> {
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let file = files::open_regular(path, true).map_err(unusable)?;
    let Some(header) = read(&file, path).map_err(unusable)?? else { return Ok(file) };
    // Both numbers are 0 in a file that was being made when its process died.
    check_identity(path, header.application_id(), header.user_version())?;
    match leftover(path, &header).map_err(unusable)? {
        Some(log) => Err(OpenError::ForeignLog { log, database: path.to_owned() }),
        None => Ok(file),
    }
}

/// The header of a file that is not empty.
fn read(file: &File, path: &Path) -> io::Result<Result<Option<Header>, OpenError>> {
    let mut bytes = Vec::with_capacity(LENGTH);
    let length = file.take(LENGTH as u64).read_to_end(&mut bytes)?;
    if length == 0 {
        return Ok(Ok(None));
    }
    match <[u8; LENGTH]>::try_from(bytes) {
        Ok(bytes) if bytes.starts_with(b"SQLite format 3\0") => Ok(Ok(Some(Header(bytes)))),
        _ => Ok(Err(OpenError::Foreign { path: path.to_owned(), what: NO_DATABASE })),
    }
}

pub(in crate::store::sqlite) fn check_identity(
    path: &Path,
    application_id: u32,
    user_version: u32,
) -> Result<(), OpenError> {
    if application_id != 0 && application_id != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned(), what: "another program's database" });
    }
    let known = known_schema();
    if application_id == APPLICATION_ID && user_version > known {
        return Err(OpenError::Newer { path: path.to_owned(), found: user_version, known });
    }
    Ok(())
}

/// Returns whether a database that is not open is ours by its own bytes, and neither WAL nor journal beside it is another's.
pub(in crate::store::sqlite) fn belongs_together(path: &Path) -> bool {
    let header = files::open_regular(path, false).map(|file| read(&file, path));
    match header {
        Ok(Ok(Ok(Some(header)))) => {
            header.application_id() == APPLICATION_ID && leftover(path, &header).is_ok_and(|log| log.is_none())
        }
        _ => false,
    }
}

fn leftover(path: &Path, header: &Header) -> io::Result<Option<PathBuf>> {
    let (wal, journal) = (files::beside(path, "-wal"), files::beside(path, "-journal"));
    if let Some(file) = not_empty(&wal)?
        && (header.is_in_rollback_mode() || !wal_fits(file, header)?)
    {
        return Ok(Some(wal));
    }
    if let Some(file) = not_empty(&journal)?
        && !journal_fits(&file, header)?
    {
        return Ok(Some(journal));
    }
    Ok(None)
}

/// The file, if it is there and holds anything.
pub(in crate::store::sqlite) fn not_empty(path: &Path) -> io::Result<Option<File>> {
    match files::open_regular(path, false) {
        Ok(file) if file.metadata()?.len() > 0 => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a WAL may be the database's own: what its committed frames hold of the first page is not older than what the
/// database has of it, and begins where the database is.
///
/// Whatever was in a WAL before it was begun anew had been moved into the database, so the database is never behind a WAL's
/// first frame by more than that one change, and never ahead of its last one.
fn wal_fits(file: File, database: &Header) -> io::Result<bool> {
    let Some(wal) = Committed::read(BufReader::with_capacity(1 << 16, file))? else { return Ok(true) };
    if wal.page_size != database.page_size() {
        return Ok(false);
    }
    let Some((first, last)) = wal.first_page else {
        // Nothing of what the first page holds has changed, the number of pages for one.
        let is_valid = database.number(92) == database.change_counter();
        return Ok(!is_valid || wal.pages.is_none_or(|pages| pages == database.pages()));
    };
    Ok([0, last.application_id()].contains(&database.application_id())
        && database.change_counter() <= last.change_counter()
        && first.change_counter() <= database.change_counter().saturating_add(1)
        && database.schema_cookie() <= last.schema_cookie()
        && database.user_version() <= last.user_version())
}

/// What the committed part of a WAL says.
struct Committed {
    page_size: u32,
    /// The database's length after the last commit, in pages.
    pages: Option<u32>,
    /// The first and the last state of the database's first page.
    first_page: Option<(Header, Header)>,
}

impl Committed {
    /// Reads a WAL to its last commit (<https://www.sqlite.org/fileformat2.html#walformat>); nothing if it has none.
    fn read(mut wal: impl Read) -> io::Result<Option<Self>> {
        let mut head = [0; 32];
        if !fill(&mut wal, &mut head)? {
            return Ok(None);
        }
        let (magic, page_size) = (number(&head, 0), number(&head, 8));
        let is_size = page_size.is_power_of_two() && (512..=65_536).contains(&page_size);
        let mut sum = Checksum { big_endian: magic & 1 == 1, at: (0, 0) };
        sum.add(&head[..24]);
        if magic & !1 != 0x377f_0682 || !is_size || sum.at != (number(&head, 24), number(&head, 28)) {
            return Ok(None);
        }
        let mut committed = Self { page_size, pages: None, first_page: None };
        let mut pending: Option<(Header, Header)> = None;
        let mut frame = vec![0; 24 + page_size as usize];
        while fill(&mut wal, &mut frame)? {
            let (page, pages) = (number(&frame, 0), number(&frame, 4));
            sum.add(&frame[..8]);
            sum.add(&frame[24..]);
            if frame[8..16] != head[16..24] || sum.at != (number(&frame, 16), number(&frame, 20)) {
                break;
            }
            if page == 1 {
                let header = Header(frame[24..24 + LENGTH].try_into().expect("so many bytes"));
                let first = pending.or(committed.first_page).map_or(header, |(first, _)| first);
                pending = Some((first, header));
            }
            if pages > 0 {
                committed.pages = Some(pages);
                committed.first_page = pending.or(committed.first_page);
            }
        }
        Ok(committed.pages.is_some().then_some(committed))
    }
}

/// Reads as many bytes as there is room for; false when there are fewer.
fn fill(from: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// A WAL's checksum, which goes on from frame to frame.
struct Checksum {
    big_endian: bool,
    at: (u32, u32),
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        let word = |bytes: &[u8]| {
            let bytes = bytes.try_into().expect("four bytes");
            if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        let (mut one, mut two) = self.at;
        for pair in bytes.chunks_exact(8) {
            one = one.wrapping_add(word(&pair[..4])).wrapping_add(two);
            two = two.wrapping_add(word(&pair[4..])).wrapping_add(one);
        }
        self.at = (one, two);
    }
}

/// Whether a rollback journal may be the database's own: it holds the first page as it was one change before, or as it is.
///
/// A copy is in rollback mode until its first start has switched it, during which a kill leaves a journal.
fn journal_fits(journal: &File, database: &Header) -> io::Result<bool> {
    const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    /// At most so many pages are looked through for the first one.
    const MOST: u64 = 10_000;
    let mut head = [0; 28];
    // SQLite does not take a journal for one that is shorter, or whose header was wiped at a commit.
    if journal.metadata()?.len() < 28 || journal.read_exact_at(&mut head, 0).is_err() || head[..8] != MAGIC {
        return Ok(true);
    }
    let (sector, page_size) = (u64::from(number(&head, 20)), u64::from(number(&head, 24)));
    if page_size != u64::from(database.page_size()) {
        return Ok(false);
    }
    for record in 0..MOST {
        let mut page = [0; 4 + LENGTH];
        if journal.read_exact_at(&mut page, sector + record * (page_size + 8)).is_err() {
            return Ok(true);
        }
        if number(&page, 0) == 1 {
            let before = Header(page[4..].try_into().expect("so many bytes"));
            let passed = database.change_counter().wrapping_sub(before.change_counter());
            return Ok(passed <= 1 && before.application_id() == database.application_id());
        }
    }
    Ok(true)
}
