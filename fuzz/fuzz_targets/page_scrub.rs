//! Scrubbing of pages: what would be zeroed is within the page, holds something, touches neither header nor cells, and
//! is done once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transcribe_hook::store::sqlite::fuzz::unused_range;

fuzz_target!(|input: &[u8]| {
    let Some((&[size, number, many], given)) = input.split_first_chunk() else { return };
    // Pages have 512 bytes to 64 KiB; the input supplies their beginning and their end.
    let page_bytes = 512_usize << (size % 8);
    let mut page = vec![if size & 128 == 0 { 0 } else { b'w' }; page_bytes];
    let half = given.len().min(page_bytes) / 2;
    page[..half].copy_from_slice(&given[..half]);
    page[page_bytes - half..].copy_from_slice(&given[given.len() - half..]);
    let at = u64::from(number) * page_bytes as u64;
    let file_bytes = (many != 255).then(|| (page_bytes as u64) << (many % 40));
    let Some(range) = unused_range(&page, at, file_bytes) else { return };
    assert!(range.start < range.end && range.end <= page_bytes, "{range:?}");
    assert!(page[range.clone()].iter().any(|byte| *byte != 0));
    let header = if at == 0 { 100 } else { 0 };
    let header_bytes = if page[header] < 8 { 12 } else { 8 };
    let cells = usize::from(u16::from_be_bytes([page[header + 3], page[header + 4]]));
    assert!(range.start >= header + header_bytes + 2 * cells, "{range:?} touches the pointers");
    for pointer in page[header + header_bytes..].chunks_exact(2).take(cells) {
        let cell = usize::from(u16::from_be_bytes([pointer[0], pointer[1]]));
        assert!(cell >= range.end, "{range:?} touches the cell at {cell}");
    }
    page[range].fill(0);
    assert_eq!(unused_range(&page, at, file_bytes), None);
});
