//! Zeroes leftover bytes in the unused part of pages when they are written into the database ([`page_scrub`]).
//!
//! SQLite accesses files through a C interface, the VFS (<https://www.sqlite.org/vfs.html>). This one is the default
//! VFS except for one method of one kind of file: `xWrite` of the database. It has no state, it passes every byte to
//! the operating system when SQLite writes it, and all other files, including the WAL, use the default VFS unchanged.
#![expect(unsafe_code, reason = "SQLite's VFS is a C interface")]

use super::page_scrub;
use rusqlite::ffi::{self, sqlite3_file, sqlite3_filename, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs};
use std::ffi::{CStr, c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

const NAME: &CStr = c"page-scrub";

/// The default VFS, which opens all files.
static DEFAULT: AtomicPtr<sqlite3_vfs> = AtomicPtr::new(std::ptr::null_mut());

/// The default VFS's methods for a database file, and a copy with another `xWrite`.
struct Methods {
    default: &'static sqlite3_io_methods,
    scrubbing: sqlite3_io_methods,
}

static METHODS: OnceLock<Methods> = OnceLock::new();

/// Returns the name of this VFS in SQLite, and registers the VFS on first use.
pub(in crate::store::sqlite) fn name() -> &'static CStr {
    static REGISTERED: OnceLock<()> = OnceLock::new();
    REGISTERED.get_or_init(|| {
        // SAFETY: a null name requests the default VFS, which lives as long as the process.
        let default = unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) };
        assert!(!default.is_null(), "SQLite has a default VFS");
        DEFAULT.store(default, Ordering::Release);
        // SAFETY: the pointer is not null, and nobody writes to the VFS. Its functions keep all their state in global
        // variables and behind `pAppData`, which is copied as well.
        let mut vfs = unsafe { *default };
        vfs.zName = NAME.as_ptr();
        vfs.xOpen = Some(open);
        // SAFETY: the VFS is never freed.
        let code = unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 0) };
        assert_eq!(code, ffi::SQLITE_OK, "SQLite registers a VFS");
    });
    NAME
}

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let default = DEFAULT.load(Ordering::Acquire);
    // SAFETY: the default VFS was stored before this VFS was registered and lives as long as the process. The arguments
    // are SQLite's own.
    let code = unsafe { (*default).xOpen.expect("a VFS can open")(default, name, file, flags, flags_out) };
    if code != ffi::SQLITE_OK || flags & ffi::SQLITE_OPEN_MAIN_DB == 0 {
        return code;
    }
    // SAFETY: the default VFS opened the file, and its methods are constants.
    let default = unsafe { &*(*file).pMethods };
    let methods =
        METHODS.get_or_init(|| Methods { default, scrubbing: sqlite3_io_methods { xWrite: Some(write), ..*default } });
    if !std::ptr::eq(methods.default, default) {
        // A file with another locking method, which only a URI can request. SQLite closes it.
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: the default VFS opened the file, and the methods are never freed.
    unsafe { (*file).pMethods = &raw const methods.scrubbing };
    ffi::SQLITE_OK
}

unsafe extern "C" fn write(file: *mut sqlite3_file, data: *const c_void, length: c_int, at: sqlite3_int64) -> c_int {
    let default = METHODS.get().expect("set before a file has this method").default;
    let write = default.xWrite.expect("a file can be written");
    let file_bytes = || {
        let mut bytes = 0;
        // SAFETY: the file is open.
        let code = unsafe { default.xFileSize.expect("a file has a size")(file, &raw mut bytes) };
        u64::try_from(bytes).ok().filter(|_| code == ffi::SQLITE_OK)
    };
    let (Ok(bytes), Ok(place)) = (usize::try_from(length), u64::try_from(at)) else {
        return ffi::SQLITE_IOERR_WRITE;
    };
    // SAFETY: SQLite passes `bytes` bytes.
    let page = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), bytes) };
    let Some(remains) = page_scrub::unused_range(page, place, file_bytes) else {
        // SAFETY: the arguments are SQLite's own.
        return unsafe { write(file, data, length, at) };
    };
    let mut clean = page.to_vec();
    clean[remains].fill(0);
    // SAFETY: the arguments are SQLite's own, except for the buffer, which has the same length and lives until the call
    // returns.
    unsafe { write(file, clean.as_ptr().cast(), length, at) }
}
