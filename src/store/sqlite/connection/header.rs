//! Checks of a database's bytes before SQLite opens it: is it ours, and do its WAL and journal belong to it?
//!
//! SQLite accepts any WAL or journal with the right name, and would write another database's pages into ours. These
//! checks refuse only what is certainly wrong: a WAL beside a copy in rollback mode, or a WAL whose first page is older
//! or newer than it can be. A copy in WAL mode beside the WAL of a later state can look correct.

use super::migrations::known_schema;
use super::open_error::OpenError;
use super::schema::APPLICATION_ID;
use crate::sys::files;
use crate::sys::paths::with_suffix;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Description of a file that SQLite did not write, or that is damaged from its first byte on.
pub(in crate::store::sqlite) const NO_DATABASE: &str = "no SQLite database";

/// Length of a database header, in bytes (<https://www.sqlite.org/fileformat.html>).
const HEADER_BYTES: usize = 100;

/// The header of a database, from its file or from a page of its WAL.
#[derive(Debug, Clone, Copy)]
struct Header([u8; HEADER_BYTES]);

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

    /// Returns the change counter, which grows when the first page changes and never shrinks.
    fn change_counter(&self) -> u32 {
        self.number(24)
    }

    fn pages(&self) -> u32 {
        self.number(28)
    }

    /// Returns the schema cookie, which grows with each change of the schema.
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

/// Opens a database's file and checks its first bytes without SQLite, which might roll back a foreign file's journal.
///
/// The file must stay open until SQLite's connections are closed; see [`super::lock`].
///
/// # Errors
/// The file is not ours, is newer, or is beside the WAL or journal of another database.
pub(in crate::store::sqlite) fn open(path: &Path) -> Result<File, OpenError> {
    let unusable = |source| OpenError::Unusable { path: path.to_owned(), source };
    let file = files::open_regular(path, true).map_err(unusable)?;
    let Some(header) = read(&file, path).map_err(unusable)?? else { return Ok(file) };
    // Both numbers are 0 if the process died while it created the file.
    check_identity(path, header.application_id(), header.user_version())?;
    match foreign_file(path, &header).map_err(unusable)? {
        Some(file) => Err(OpenError::ForeignWal { file, database: path.to_owned() }),
        None => Ok(file),
    }
}

/// Reads the header, or returns `None` for an empty file.
fn read(file: &File, path: &Path) -> io::Result<Result<Option<Header>, OpenError>> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    let length = file.take(HEADER_BYTES as u64).read_to_end(&mut bytes)?;
    if length == 0 {
        return Ok(Ok(None));
    }
    match <[u8; HEADER_BYTES]>::try_from(bytes) {
        Ok(bytes) if bytes.starts_with(b"SQLite format 3\0") => Ok(Ok(Some(Header(bytes)))),
        _ => Ok(Err(OpenError::NotOurs { path: path.to_owned(), what: NO_DATABASE })),
    }
}

pub(in crate::store::sqlite) fn check_identity(
    path: &Path,
    application_id: u32,
    user_version: u32,
) -> Result<(), OpenError> {
    if application_id != 0 && application_id != APPLICATION_ID {
        return Err(OpenError::NotOurs { path: path.to_owned(), what: "another program's database" });
    }
    let known = known_schema();
    if application_id == APPLICATION_ID && user_version > known {
        return Err(OpenError::SchemaTooNew { path: path.to_owned(), found: user_version, known });
    }
    Ok(())
}

/// Returns whether a closed database is ours, and any WAL or journal beside it belongs to it.
pub(in crate::store::sqlite) fn belongs_together(path: &Path) -> bool {
    let header = files::open_regular(path, false).map(|file| read(&file, path));
    match header {
        Ok(Ok(Ok(Some(header)))) => {
            header.application_id() == APPLICATION_ID
                && foreign_file(path, &header).is_ok_and(|foreign| foreign.is_none())
        }
        _ => false,
    }
}

/// Returns the WAL or journal beside a database that belongs to another one.
fn foreign_file(path: &Path, header: &Header) -> io::Result<Option<PathBuf>> {
    let (wal, journal) = (with_suffix(path, "-wal"), with_suffix(path, "-journal"));
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

/// Opens a file if it exists and is not empty.
pub(in crate::store::sqlite) fn not_empty(path: &Path) -> io::Result<Option<File>> {
    match files::open_regular(path, false) {
        Ok(file) if file.metadata()?.len() > 0 => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns whether a WAL may belong to the database. The first page in its committed frames must not be older than the
/// database's first page, and must connect to it.
///
/// Everything in a WAL before its last reset is in the database. The database is therefore at most one change behind
/// the WAL's first frame, and never ahead of its last one.
fn wal_fits(file: File, database: &Header) -> io::Result<bool> {
    let Some(wal) = Committed::read(BufReader::with_capacity(1 << 16, file))? else { return Ok(true) };
    if wal.page_size != database.page_size() {
        return Ok(false);
    }
    let Some((first, last)) = wal.first_page else {
        // The first page did not change, so the number of pages must not have changed either.
        let is_valid = database.number(92) == database.change_counter();
        return Ok(!is_valid || wal.pages.is_none_or(|pages| pages == database.pages()));
    };
    Ok([0, last.application_id()].contains(&database.application_id())
        && database.change_counter() <= last.change_counter()
        && first.change_counter() <= database.change_counter().saturating_add(1)
        && database.schema_cookie() <= last.schema_cookie()
        && database.user_version() <= last.user_version())
}

/// Summary of the committed frames of a WAL.
struct Committed {
    page_size: u32,
    /// Length of the database after the last commit, in pages.
    pages: Option<u32>,
    /// The first and the last version of the database's first page.
    first_page: Option<(Header, Header)>,
}

impl Committed {
    /// Reads a WAL up to its last commit (<https://www.sqlite.org/fileformat2.html#walformat>). Returns `None` if it
    /// has no commit.
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
                let header = Header(frame[24..24 + HEADER_BYTES].try_into().expect("the slice has this length"));
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

/// Fills the buffer; returns false if the input is too short.
fn fill(from: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The checksum of a WAL, which continues from frame to frame.
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

/// Returns whether a rollback journal may belong to the database: it holds the first page as it is, or as it was one
/// change before.
///
/// A copy is in rollback mode until its first start switches it to WAL mode. A kill during the switch leaves a journal.
fn journal_fits(journal: &File, database: &Header) -> io::Result<bool> {
    const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    /// Maximum number of pages that are searched for the first page.
    const MAX_SEARCHED_PAGES: u64 = 10_000;
    let mut head = [0; 28];
    // SQLite ignores a journal that is shorter, or whose header was wiped by a commit.
    if journal.metadata()?.len() < 28 || journal.read_exact_at(&mut head, 0).is_err() || head[..8] != MAGIC {
        return Ok(true);
    }
    let (sector, page_size) = (u64::from(number(&head, 20)), u64::from(number(&head, 24)));
    if page_size != u64::from(database.page_size()) {
        return Ok(false);
    }
    for record in 0..MAX_SEARCHED_PAGES {
        let mut page = [0; 4 + HEADER_BYTES];
        if journal.read_exact_at(&mut page, sector + record * (page_size + 8)).is_err() {
            return Ok(true);
        }
        if number(&page, 0) == 1 {
            let before = Header(page[4..].try_into().expect("the slice has this length"));
            let passed = database.change_counter().wrapping_sub(before.change_counter());
            return Ok(passed <= 1 && before.application_id() == database.application_id());
        }
    }
    Ok(true)
}
