//! Makes sure that a page of the database holds nothing but its content.
//!
//! `secure_delete` overwrites what is deleted where it stands, but not the copies that SQLite leaves in the unused middle
//! of a page when rows move to another one as pages are split. Between the list of a page's cells and the first cell there
//! is by definition nothing (<https://www.sqlite.org/fileformat.html#b_tree_pages>), so that it can be zeroed when the page
//! is written into the database.

use std::ops::Range;

/// Length of the database's header, which stands before the first page's own.
const FILE_HEADER: usize = 100;

/// In databases of so many pages and above (137 GB of pages of 4 KiB), a page that is no b-tree page may look like one: the
/// first byte of such a page belongs to the number of another one.
pub(super) const AMBIGUOUS: u64 = 2 << 24;

/// The part of a b-tree page that is to be zero and is not; `None` of any other page, too.
pub(super) fn remains(page: &[u8], first: bool) -> Option<Range<usize>> {
    let header = if first { FILE_HEADER } else { 0 };
    let cells_at = header
        + match page.get(header)? {
            2 | 5 => 12,
            10 | 13 => 8,
            _ => return None,
        };
    let number = |at: usize| Some(usize::from(u16::from_be_bytes(page.get(at..at + 2)?.try_into().ok()?)));
    let start = cells_at + 2 * number(header + 3)?;
    let end = match number(header + 5)? {
        0 => 65_536,
        end => end,
    };
    let unused = page.get(start..end)?;
    unused.iter().any(|byte| *byte != 0).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::remains;

    /// A leaf of a table with two cells, the first of which begins at 400.
    fn page(header: usize) -> Vec<u8> {
        let mut page = vec![0; 512];
        page[header..header + 8].copy_from_slice(&[
            13,
            0,
            0,
            0,
            2,
            400_u16.to_be_bytes()[0],
            400_u16.to_be_bytes()[1],
            0,
        ]);
        page[header + 8..header + 12].copy_from_slice(&[1, 200, 1, 144]);
        page[400..].fill(7);
        page
    }

    #[test]
    fn what_is_between_the_list_of_cells_and_the_cells_is_found() {
        for header in [0, 100] {
            let mut page = page(header);
            assert_eq!(remains(&page, header > 0), None);
            page[300] = 1;
            assert_eq!(remains(&page, header > 0), Some(header + 12..400));
        }
    }

    #[test]
    fn other_pages_and_broken_ones_are_let_be() {
        let mut page = page(0);
        page[300] = 1;
        for (at, byte) in [(0, 0), (0, 1), (5, 255), (3, 255)] {
            let mut other = page.clone();
            other[at] = byte;
            assert_eq!(remains(&other, false), None, "{at}: {byte}");
        }
        assert_eq!(remains(&[], false), None);
        assert_eq!(remains(&[13; 7], false), None);
        assert_eq!(remains(&page[..350], false), None);
    }
}
