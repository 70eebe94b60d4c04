//! The files as the writing connection sees them. What is written to the log is gathered, and handed to the system in
//! one piece when it is synced; pages that are written to the database are rid of remains ([`clean_pages`]).
//!
//! SQLite writes each page of a commit as two small pieces, some hundred system calls for a batch of turns; in one piece
//! a commit costs a third less processor time.
//!
//! - Nothing is reported as synced that was not written and synced.
//! - Whatever else is asked of the file is answered as if nothing were gathered: that is written first.
//! - What could not be written is dropped and the error reported, upon which SQLite rolls the transaction back.
//! - For connections with `synchronous=FULL` only: with it, SQLite syncs the log before it shows a commit to other
//!   connections, and these read the file past this module.
//!
//! Of the database's file only `xWrite` is another than the default.
//!
//! SQLite asks for files through a C interface, its VFS (<https://www.sqlite.org/vfs.html>). This one is the default
//! one with another way to open files. Its unsafe code rests on what that page says: a file
//! is opened into `szOsFile` bytes that SQLite provides, aligned to 8, used by one thread at a time, and not after
//! `xClose`.
#![expect(unsafe_code, reason = "SQLite's VFS is a C interface")]

use super::clean_pages;
use rusqlite::ffi::{self, sqlite3_file, sqlite3_filename, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs};
use std::ffi::{CStr, c_int, c_void};
use std::sync::OnceLock;

const NAME: &CStr = c"gathering-log";

/// Up to how many bytes are gathered: some thirty pages. SQLite's own files take no more than 131,071 at once: they cut
/// a greater length down to its last 17 bits.
const MOST: usize = 127 * 1024;

/// An open log. Behind it, in the same memory, lies the default VFS's file.
#[repr(C)]
struct LogFile {
    /// As in [`sqlite3_file`], for which SQLite takes this.
    methods: *const sqlite3_io_methods,
    /// Where what is gathered belongs, in bytes from the file's beginning.
    start: sqlite3_int64,
    gathered: Vec<u8>,
}

/// The VFS, with the one that it goes before.
#[repr(C)]
struct LogVfs {
    vfs: sqlite3_vfs,
    default: *mut sqlite3_vfs,
}

/// The name under which SQLite knows this VFS; registers it when first asked for.
pub(super) fn vfs() -> &'static CStr {
    static REGISTERED: OnceLock<()> = OnceLock::new();
    REGISTERED.get_or_init(|| {
        // SAFETY: a null name asks for the default VFS, which lives as long as the process.
        let default = unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) };
        assert!(!default.is_null(), "SQLite has a default VFS");
        // SAFETY: not null, and written to by nobody. Its functions keep all their state in global variables and behind
        // `pAppData`, which is copied too.
        let mut vfs = unsafe { *default };
        vfs.zName = NAME.as_ptr();
        vfs.szOsFile += c_int::try_from(size_of::<LogFile>()).expect("some bytes");
        vfs.xOpen = Some(open);
        let registered = Box::leak(Box::new(LogVfs { vfs, default }));
        // SAFETY: it is never freed.
        let code = unsafe { ffi::sqlite3_vfs_register(&raw mut registered.vfs, 0) };
        assert_eq!(code, ffi::SQLITE_OK, "SQLite takes the VFS");
    });
    NAME
}

/// The default VFS's file behind an open log.
fn behind(log: *mut sqlite3_file) -> *mut sqlite3_file {
    const { assert!(size_of::<LogFile>().is_multiple_of(8), "so that what follows is aligned") };
    log.wrapping_byte_add(size_of::<LogFile>())
}

/// Calls a method of the default VFS's file behind a log.
macro_rules! pass_on {
    ($method:ident, $log:expr $(, $argument:expr)*) => {{
        let file = behind($log);
        // SAFETY: opened by `open`, which keeps only files that have methods; the arguments are SQLite's own.
        unsafe { ((*(*file).pMethods).$method.expect("a file has all methods of version 1"))(file $(, $argument)*) }
    }};
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite calls this with the VFS that was registered, which is the first field of a `LogVfs`.
    let default = unsafe { (*vfs.cast::<LogVfs>()).default };
    // SAFETY: as above: the default VFS lives as long as the process.
    let default_open = unsafe { (*default).xOpen }.expect("a VFS can open");
    if flags & ffi::SQLITE_OPEN_WAL == 0 {
        // SAFETY: there is more room than the default VFS asks for.
        let code = unsafe { default_open(default, name, file, flags, flags_out) };
        if code == ffi::SQLITE_OK && flags & ffi::SQLITE_OPEN_MAIN_DB != 0 {
            // SAFETY: the default VFS has opened it, and its methods are constants.
            unsafe { (*file).pMethods = cleaning((*file).pMethods) };
        }
        return code;
    }
    let real = behind(file);
    // SAFETY: behind our own part there is as much room as the default VFS asks for. A file without methods is one that
    // need not be closed.
    let code = unsafe {
        (*real).pMethods = std::ptr::null();
        (*file).pMethods = std::ptr::null();
        default_open(default, name, real, flags, flags_out)
    };
    // SAFETY: set above, and by the default VFS if it opened the file.
    if unsafe { (*real).pMethods.is_null() } {
        return code;
    }
    if code != ffi::SQLITE_OK {
        pass_on!(xClose, file);
        return code;
    }
    let log = LogFile { methods: &raw const METHODS, start: 0, gathered: Vec::new() };
    // SAFETY: the room is ours, large enough and aligned, and what is in it needs no drop.
    unsafe { file.cast::<LogFile>().write(log) };
    ffi::SQLITE_OK
}

/// The log's own part.
///
/// # Safety
/// `file` must be a log that `open` made and `close` did not end yet, and no other reference to it may be in use.
unsafe fn log<'a>(file: *mut sqlite3_file) -> &'a mut LogFile {
    // SAFETY: as the caller promises.
    unsafe { &mut *file.cast::<LogFile>() }
}

/// Hands what is gathered to the system.
///
/// # Safety
/// As of [`log`].
unsafe fn write_out(file: *mut sqlite3_file) -> c_int {
    // SAFETY: as the caller promises.
    let log = unsafe { log(file) };
    if log.gathered.is_empty() {
        return ffi::SQLITE_OK;
    }
    let length = c_int::try_from(log.gathered.len()).expect("bounded");
    let code = pass_on!(xWrite, file, log.gathered.as_ptr().cast(), length, log.start);
    log.gathered.clear();
    code
}

/// Writes what is gathered out, and goes on only if that went well.
macro_rules! write_out_first {
    ($file:expr) => {
        // SAFETY: SQLite calls methods with the file that they belong to, by one thread at a time.
        match unsafe { write_out($file) } {
            ffi::SQLITE_OK => {}
            code => return code,
        }
    };
}

unsafe extern "C" fn write(file: *mut sqlite3_file, data: *const c_void, length: c_int, at: sqlite3_int64) -> c_int {
    let size = usize::try_from(length).expect("SQLite writes no negative lengths");
    // SAFETY: SQLite calls methods with the file that they belong to, by one thread at a time.
    let LogFile { start, gathered, .. } = unsafe { log(file) };
    let end = *start + sqlite3_int64::try_from(gathered.len()).expect("bounded");
    if at != end || gathered.len() + size > MOST {
        write_out_first!(file);
    }
    // SAFETY: as above; the references of before are not used any more.
    let log = unsafe { log(file) };
    if log.gathered.is_empty() {
        log.start = at;
    }
    // SAFETY: SQLite hands over so many bytes.
    log.gathered.extend_from_slice(unsafe { std::slice::from_raw_parts(data.cast(), size) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    write_out_first!(file);
    pass_on!(xSync, file, flags)
}

unsafe extern "C" fn read(file: *mut sqlite3_file, data: *mut c_void, length: c_int, at: sqlite3_int64) -> c_int {
    write_out_first!(file);
    pass_on!(xRead, file, data, length, at)
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    write_out_first!(file);
    pass_on!(xTruncate, file, size)
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    write_out_first!(file);
    pass_on!(xFileSize, file, size)
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: SQLite calls methods with the file that they belong to, by one thread at a time.
    let written = unsafe { write_out(file) };
    let closed = pass_on!(xClose, file);
    // SAFETY: made by `open`; SQLite does not use the file after this.
    unsafe { file.cast::<LogFile>().drop_in_place() };
    if written == ffi::SQLITE_OK { closed } else { written }
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    pass_on!(xLock, file, level)
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    pass_on!(xUnlock, file, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, answer: *mut c_int) -> c_int {
    pass_on!(xCheckReservedLock, file, answer)
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    write_out_first!(file);
    pass_on!(xFileControl, file, operation, argument)
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    pass_on!(xSectorSize, file)
}

unsafe extern "C" fn device_characteristics(file: *mut sqlite3_file) -> c_int {
    pass_on!(xDeviceCharacteristics, file)
}

/// The default VFS's methods of a database's file, with what goes before them.
struct Cleaning {
    methods: sqlite3_io_methods,
    default: &'static sqlite3_io_methods,
}

static CLEANING: OnceLock<Cleaning> = OnceLock::new();

/// The same methods with another way to write, or as they are if they are none that are known: the default VFS has one
/// table of methods for each way of locking, of which it uses one.
///
/// # Safety
/// They must be there for good.
unsafe fn cleaning(default: *const sqlite3_io_methods) -> *const sqlite3_io_methods {
    // SAFETY: as the caller promises.
    let default = unsafe { &*default };
    let cleaning = CLEANING.get_or_init(|| {
        let mut methods = *default;
        methods.xWrite = Some(write_clean);
        Cleaning { methods, default }
    });
    if std::ptr::eq(cleaning.default, default) { &raw const cleaning.methods } else { default }
}

unsafe extern "C" fn write_clean(
    file: *mut sqlite3_file,
    data: *const c_void,
    length: c_int,
    at: sqlite3_int64,
) -> c_int {
    let default = CLEANING.get().expect("set before a file has this method").default;
    let write = default.xWrite.expect("a file can be written");
    // SAFETY: SQLite hands over so many bytes.
    let page = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), usize::try_from(length).unwrap_or(0)) };
    if let Some(remains) = clean_pages::remains(page, at == 0) {
        let mut size = 0;
        // SAFETY: the file is open, and the answer is written to where it is asked.
        let code = unsafe { default.xFileSize.expect("a file has a size")(file, &raw mut size) };
        if code == ffi::SQLITE_OK
            && u64::try_from(size).is_ok_and(|size| size / (page.len() as u64) < clean_pages::AMBIGUOUS)
        {
            let mut clean = page.to_vec();
            clean[remains].fill(0);
            // SAFETY: the arguments are SQLite's own, but for bytes of the same length that live until it returns.
            return unsafe { write(file, clean.as_ptr().cast(), length, at) };
        }
    }
    // SAFETY: the arguments are SQLite's own.
    unsafe { write(file, data, length, at) }
}
