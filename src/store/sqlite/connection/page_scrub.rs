//! Finds leftover bytes in the unused part of a page.
//!
//! `secure_delete` overwrites deleted rows in place. When SQLite splits a page and moves rows to another one, copies of
//! them remain in the unused middle of the old page. By definition there is nothing between a page's cell pointers and
//! its first cell (<https://www.sqlite.org/fileformat.html#b_tree_pages>), so that part can be zeroed whenever the page
//! is written into the database.
//!
//! Only b-tree pages have such a part, and a page does not tell its own type. A database has six kinds of pages, so a
//! page that can be none of the other five is a b-tree page. Each test holds for any `auto_vacuum`, any page size and
//! any number of reserved bytes. It needs only the page, its position and the size of the file, and cannot be outdated:
//!
//! - **The lock-byte page** is at 1 GiB.
//! - **Overflow pages and freelist trunks** begin with the number of another page, or 0. Read that way, the first bytes
//!   of a b-tree page name a page number of at least 2^25. The named page must exist, and SQLite runs a checkpoint only
//!   if file and WAL are together as large as the database will be (`walCheckpoint`). If the number is more than twice
//!   the number of pages in the file, the WAL would have to be longer than the file, which then has at least 64 GiB
//!   with pages of 4 KiB.
//! - **Pointer maps** are lists of entries of five bytes. The first byte is 1 to 5, or 0 if there is no page yet. A
//!   page that reads as such a list is left alone. If it is a b-tree page nevertheless, its unused part contains no
//!   five bytes of text, because one of them would have to be a control character.
//! - **Freelist leaves** contain nothing that is ever read, so zeroing a part of one does no harm.
//!
//! In a database of 2^24 pages or more (64 GiB with pages of 4 KiB), some pages may therefore be skipped although they
//! could be cleaned: interior pages of indexes from that size on, leaves of indexes from 320 GiB on, leaves of tables
//! from 416 GiB on.
//!
//! The page must also be a valid b-tree page, because bytes that might help to repair a broken one are not overwritten.

use std::ops::Range;

/// Length of the database header, which precedes the first page's own header, in bytes.
const FILE_HEADER_BYTES: usize = 100;

/// Position of the bytes that processes lock.
const LOCK_BYTE: u64 = 1 << 30;

/// Maximum number of bytes that a database may reserve at the end of each page.
const MAX_RESERVED_BYTES: usize = 255;

/// Minimum size of a cell and of a free block, in bytes.
const MIN_CELL_BYTES: usize = 4;

/// Maximum number of bytes of a page in fragments that are too small for a free block.
const MAX_FRAGMENTED_BYTES: u8 = 60;

/// Length of an entry in a pointer map, in bytes.
const POINTER_BYTES: usize = 5;

/// Maximum type of an entry in a pointer map.
const MAX_POINTER_TYPE: u8 = 5;

/// Returns the unused part of a b-tree page if it contains leftover bytes.
///
/// `at` is the position of the page in the file. `file_bytes` returns the size of the file and is called only if the
/// size matters.
pub(in crate::store::sqlite) fn unused_range(
    page: &[u8],
    at: u64,
    file_bytes: impl FnOnce() -> Option<u64>,
) -> Option<Range<usize>> {
    let header = if at == 0 { FILE_HEADER_BYTES } else { 0 };
    let unused = unused_part(page, header)?;
    if page[unused.clone()].iter().all(|byte| *byte == 0) {
        return None;
    }
    let is_b_tree = at == 0 || {
        let page_bytes = page.len() as u64;
        let named = u64::from(u32::from_be_bytes(*page.first_chunk()?));
        at.is_multiple_of(page_bytes)
            && at / page_bytes != LOCK_BYTE / page_bytes
            && !may_be_pointer_map(page)
            && named / 2 > file_bytes()? / page_bytes
    };
    is_b_tree.then_some(unused)
}

/// Returns the range between the cell pointers and the first cell of a valid b-tree page.
fn unused_part(page: &[u8], header: usize) -> Option<Range<usize>> {
    let cells_at = header
        + match page.get(header)? {
            2 | 5 => 12,
            10 | 13 => 8,
            _ => return None,
        };
    let number = |at: usize| Some(usize::from(u16::from_be_bytes(*page.get(at..)?.first_chunk()?)));
    let start = match number(header + 5)? {
        0 => 65_536,
        start => start,
    };
    let cells = number(header + 3)?;
    let unused = cells_at + 2 * cells..start;
    let is_sound = unused.start <= unused.end
        && unused.end <= page.len()
        && (cells > 0 || start + MAX_RESERVED_BYTES >= page.len())
        && (cells_at..unused.start)
            .step_by(2)
            .all(|pointer| number(pointer).is_some_and(|cell| cell >= start && cell + MIN_CELL_BYTES <= page.len()))
        && *page.get(header + 7)? <= MAX_FRAGMENTED_BYTES;
    // Free blocks form a list in ascending order.
    let (mut block, mut block_min) = (number(header + 1)?, start);
    while block != 0 {
        let bytes = number(block + 2)?;
        if block < block_min || bytes < MIN_CELL_BYTES || block + bytes > page.len() {
            return None;
        }
        block_min = block + bytes;
        block = number(block)?;
    }
    is_sound.then_some(unused)
}

/// Returns whether a page reads as a pointer map. Ignores bytes at its end that may be reserved, because they can have
/// any value.
fn may_be_pointer_map(page: &[u8]) -> bool {
    let certain = page.len().saturating_sub(MAX_RESERVED_BYTES);
    page[..certain].chunks_exact(POINTER_BYTES).all(|entry| entry[0] <= MAX_POINTER_TYPE)
}

#[cfg(test)]
mod tests {
    use super::{LOCK_BYTE, MAX_RESERVED_BYTES, may_be_pointer_map, unused_part, unused_range};
    use proptest::prelude::{ProptestConfig, Strategy, any};
    use proptest::test_runner::TestRunner;
    use rusqlite::Connection;
    use std::collections::HashMap;

    const PAGE_BYTES: u64 = 4096;

    /// Builds a valid page of `kind` with `cells` cells of eight bytes and leftover bytes in its unused part.
    fn page(header: usize, kind: u8, cells: usize) -> Vec<u8> {
        let mut page = vec![0; 4096];
        let pointers = header + if kind < 8 { 12 } else { 8 };
        let start = 4096 - 8 * cells;
        let put = |page: &mut Vec<u8>, at: usize, number: usize| {
            page[at..at + 2].copy_from_slice(&u16::try_from(number).unwrap().to_be_bytes());
        };
        page[header] = kind;
        put(&mut page, header + 3, cells);
        put(&mut page, header + 5, start);
        for cell in 0..cells {
            put(&mut page, pointers + 2 * cell, start + 8 * cell);
        }
        page[start - 20..].fill(b'w');
        page
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is passed where the size may be unknown")]
    fn small() -> Option<u64> {
        Some(1 << 20)
    }

    #[test]
    fn what_remains_between_the_pointers_and_the_cells_is_found() {
        for kind in [2, 5, 10, 13] {
            let pointers = if kind < 8 { 12 } else { 8 };
            for cells in [0, 1, 3, 200] {
                let unused = pointers + 2 * cells..4096 - 8 * cells;
                let mut page = page(0, kind, cells);
                assert_eq!(unused_range(&page, PAGE_BYTES, small), Some(unused.clone()), "{kind} {cells}");
                page[unused].fill(0);
                assert_eq!(unused_range(&page, PAGE_BYTES, || panic!("it does not matter")), None);
            }
        }
        // The first page's header follows the file's.
        assert_eq!(unused_range(&page(100, 13, 2), 0, || panic!("it does not matter")), Some(112..4080));
        assert_eq!(unused_range(&page(100, 13, 2), PAGE_BYTES, small), None);
    }

    #[test]
    fn a_page_that_is_not_sound_is_left_alone() {
        let good = page(0, 13, 3);
        let broken = [
            ("type", 0, 0),
            ("type", 0, 1),
            ("number of cells", 3, 255),
            ("start of the cells", 5, 255),
            ("start of the cells", 6, 255),
            ("a cell before their start", 8, 1),
            ("a cell beyond the end", 12, 255),
            ("a free block before the cells", 1, 1),
            ("a free block beyond the end", 1, 255),
            ("fragments", 7, 61),
        ];
        for (what, at, byte) in broken {
            let mut page = good.clone();
            page[at] = byte;
            assert_eq!(unused_range(&page, PAGE_BYTES, small), None, "{what}");
        }
        // A free block that follows itself.
        let mut page = good.clone();
        let block = 4096_usize - 8;
        page[1..3].copy_from_slice(&u16::try_from(block).unwrap().to_be_bytes());
        page[block..].copy_from_slice(&[15, 248, 0, 8, 0, 0, 0, 0]);
        assert_eq!(unused_range(&page, PAGE_BYTES, small), None);
        page[block..block + 2].fill(0);
        assert!(unused_range(&page, PAGE_BYTES, small).is_some());
        for length in [0, 1, 7, 8, 100, 512, 4095] {
            assert_eq!(unused_range(&good[..length], PAGE_BYTES, small), None, "{length}");
        }
        assert_eq!(unused_range(&good, 100, small), None, "a part of a page");
        assert_eq!(unused_range(&good, PAGE_BYTES, || None), None, "the file's size is not known");
    }

    #[test]
    fn the_page_of_the_lock_byte_is_left_alone_whatever_the_size_of_pages() {
        for page_bytes in [512, 1024, 4096, 65_536_u64] {
            let mut page = page(0, 13, 3);
            page.resize(usize::try_from(page_bytes.max(4096)).unwrap(), 0);
            let at = LOCK_BYTE / (page.len() as u64) * page.len() as u64;
            assert_eq!(unused_range(&page, at, small), None);
            assert!(unused_range(&page, at + page.len() as u64, small).is_some());
        }
    }

    fn checked<S: Strategy>(cases: &S, test: impl Fn(S::Value)) {
        let mut runner = TestRunner::new(ProptestConfig { cases: 500, ..ProptestConfig::default() });
        runner
            .run(cases, |case| {
                test(case);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn what_may_begin_with_a_page_that_exists_is_left_alone() {
        let pages = (proptest::sample::select(vec![2_u8, 5, 10, 13]), 0..300_usize, any::<u64>());
        checked(&pages, |(kind, cells, file_pages)| {
            let page = page(0, kind, cells);
            // The number of the page that this page would name as an overflow page or freelist trunk.
            let named = u64::from(u32::from_be_bytes(*page.first_chunk().unwrap()));
            assert!(named >= 2 << 24, "{named}");
            let file_pages = file_pages % (named + 10);
            let found = unused_range(&page, 3 * PAGE_BYTES, || Some(file_pages * PAGE_BYTES));
            assert_eq!(found.is_some(), file_pages < named / 2, "{file_pages} {named}");
            // The file is so small that the page cannot exist, even with a WAL as long as the file.
            assert!(unused_range(&page, 3 * PAGE_BYTES, || Some(((1 << 24) - 1) * PAGE_BYTES)).is_some());
        });
    }

    #[test]
    fn pointer_maps_are_left_alone_wherever_they_are() {
        let maps = (
            any::<u64>(),
            proptest::sample::select(vec![512_usize, 1024, 4096, 65_536]),
            0..=MAX_RESERVED_BYTES,
            proptest::sample::select(vec![1_u64, 10, 70_000, 1 << 32]),
            any::<u16>(),
        );
        checked(&maps, |(seed, length, reserved, pages, place)| {
            let usable = (length - reserved).max(480);
            let mut page = vec![0xAA; length];
            page[..usable / 5 * 5].fill(0);
            let mut dice = seed | 1;
            let entries = usize::try_from(seed % (usable as u64 / 5)).unwrap();
            for entry in page[..usable].chunks_exact_mut(5).take(entries + 1) {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                entry[0] = u8::try_from((dice >> 33) % 6).unwrap();
                entry[1..].copy_from_slice(&u32::try_from((dice >> 32) % pages).unwrap().to_be_bytes());
            }
            let at = (u64::from(place) + 1) * length as u64;
            assert_eq!(unused_range(&page, at, small), None);
        });
    }

    #[test]
    fn a_pointer_map_that_reads_as_a_sound_page_is_left_alone() {
        // 300 pages with parents chosen so that each pair of bytes points into the page.
        let mut map = vec![0; 4096];
        map[..15].copy_from_slice(&[5, 0, 0, 0, 1, 5, 0, 0, 0, 0, 5, 0, 9, 9, 9]);
        map[1280..1290].copy_from_slice(&[5, 0, 0, 4, 1, 5, 0, 0, 4, 2]);
        assert_eq!(unused_part(&map, 0), Some(14..1280));
        map[20..25].copy_from_slice(&[5, 0, 0, 4, 3]);
        assert!(may_be_pointer_map(&map));
        assert_eq!(unused_range(&map, PAGE_BYTES, small), None);
    }

    #[test]
    fn of_the_pages_of_a_real_database_exactly_the_unused_parts_of_b_tree_pages_are_found() {
        for page_bytes in [512_usize, 4096, 65_536] {
            for auto_vacuum in 0..=2 {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("x.db");
                let database = Connection::open(&path).unwrap();
                database
                    .execute_batch(&format!(
                        "PRAGMA page_size = {page_bytes}; PRAGMA auto_vacuum = {auto_vacuum}; \
                         CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT, v TEXT); CREATE INDEX t_k ON t (k); \
                         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000) \
                         INSERT INTO t SELECT n, printf('%x', n * 7919 % 20011), \
                           substr(hex(randomblob(40)), 1, n % 60 + 1) || \
                           iif(n % 500 = 0, hex(randomblob({page_bytes})), '') FROM n; \
                         DELETE FROM t WHERE id % 3 = 0 OR id BETWEEN 4000 AND 6000;"
                    ))
                    .unwrap();
                let mut select = database.prepare("SELECT pageno, pagetype FROM dbstat").unwrap();
                let kinds: HashMap<usize, String> =
                    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
                let bytes = std::fs::read(&path).unwrap();
                let (mut b_tree, mut others) = (0, 0);
                for (number, page) in (1_usize..).zip(bytes.chunks_exact(page_bytes)) {
                    let at = ((number - 1) * page_bytes) as u64;
                    let header = if number == 1 { 100 } else { 0 };
                    let mut page = page.to_vec();
                    match kinds.get(&number).map(String::as_str) {
                        Some("leaf" | "internal") => {
                            b_tree += 1;
                            let unused = unused_part(&page, header).expect("a sound page");
                            if unused.len() >= 10 {
                                page[unused.clone()].fill(b'w');
                                assert_eq!(unused_range(&page, at, || Some(bytes.len() as u64)), Some(unused));
                            }
                        }
                        // A freelist leaf may give any result. The leaves here are zero or were b-tree pages.
                        None if unused_part(&page, 0).is_some() && !may_be_pointer_map(&page) => {}
                        _ => {
                            others += 1;
                            assert_eq!(unused_range(&page, at, || Some(bytes.len() as u64)), None, "{number}");
                        }
                    }
                }
                assert!(b_tree > 20 && (others > 10 || page_bytes > 4096), "{b_tree} {others}");
            }
        }
    }
}
