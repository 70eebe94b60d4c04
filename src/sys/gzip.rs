//! Compression with gzip, which every browser accepts, and decompression of received bodies.

use flate2::read::{DeflateDecoder, GzDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::GzEncoder;
use flate2::{Compression, Decompress, FlushDecompress, Status};
use std::io::{Read, Write as _};

/// A trade-off between time and size.
#[derive(Debug, Clone, Copy)]
pub enum CompressionLevel {
    /// Fast, for data that is compressed for one reader.
    Quick,
    /// Smallest, for data that is compressed once.
    Best,
}

/// Compresses some bytes.
pub fn compress(bytes: &[u8], effort: CompressionLevel) -> Vec<u8> {
    let level = match effort {
        CompressionLevel::Quick => Compression::fast(),
        CompressionLevel::Best => Compression::best(),
    };
    let mut packer = GzEncoder::new(Vec::new(), level);
    packer.write_all(bytes).expect("writing to memory cannot fail");
    packer.finish().expect("writing to memory cannot fail")
}

/// Decompresses data that [`compress`] compressed, or a file that is part of this program.
pub fn decompress(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).expect("data that this program compressed is valid");
    bytes
}

/// A compression of received bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, or RFC 1951 without a frame, which some senders mean by that name.
    Deflate,
}

impl Coding {
    /// Returns the name in HTTP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// Returns a reader that decompresses another one, whose first bytes are `beginning`.
    pub fn reader<'a>(self, beginning: &[u8], packed: impl Read + 'a) -> Box<dyn Read + 'a> {
        match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Self::Deflate if has_zlib_frame(beginning) => Box::new(ZlibDecoder::new(packed)),
            Self::Deflate => Box::new(DeflateDecoder::new(packed)),
        }
    }
}

/// Reason why a body cannot be decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecompressError {
    /// The decompressed body exceeds the limit.
    TooLong,
    /// The data is invalid, truncated or followed by other bytes.
    Broken,
}

/// Decompresses a received body into at most `limit` bytes.
///
/// # Errors
/// See [`DecompressError`].
pub fn decompress_within(coding: Coding, packed: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    match coding {
        Coding::Gzip => {
            let mut bytes = Vec::new();
            let read = MultiGzDecoder::new(packed).take(limit as u64 + 1).read_to_end(&mut bytes);
            if bytes.len() > limit {
                return Err(DecompressError::TooLong);
            }
            read.map_err(|_| DecompressError::Broken)?;
            // An empty body is no valid gzip, but the decoder accepts it as one without members.
            if packed.is_empty() { Err(DecompressError::Broken) } else { Ok(bytes) }
        }
        Coding::Deflate => inflate(packed, limit),
    }
}

/// Decompresses the beginning of data that is still being received, up to `most` bytes. Stops at invalid data.
pub fn decompress_prefix(coding: Coding, packed: &[u8], most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut reader = coding.reader(packed, packed).take(most as u64);
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = reader.read(&mut piece) {
        bytes.extend_from_slice(&piece[..count]);
    }
    bytes
}

/// Returns whether the bytes begin with a header of RFC 1950.
fn has_zlib_frame(bytes: &[u8]) -> bool {
    matches!(bytes, [method, flags, ..]
        if method & 0x0f == 8 && method >> 4 <= 7 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31))
}

/// Decompresses deflate data. Uses the low-level decoder, because the reader does not distinguish the end from
/// truncated data.
fn inflate(packed: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut decoder = Decompress::new(has_zlib_frame(packed));
    let mut bytes = Vec::with_capacity(packed.len().saturating_mul(4).clamp(1024, limit.max(1024)));
    loop {
        let before = (decoder.total_in(), bytes.len());
        let done = usize::try_from(before.0).map_err(|_| DecompressError::TooLong)?;
        let status = decoder.decompress_vec(&packed[done..], &mut bytes, FlushDecompress::None);
        if bytes.len() > limit {
            return Err(DecompressError::TooLong);
        }
        match status {
            Ok(Status::StreamEnd) if decoder.total_in() == packed.len() as u64 => return Ok(bytes),
            Ok(Status::Ok | Status::BufError) if bytes.len() == bytes.capacity() => {
                bytes.reserve(bytes.len().min(limit + 1 - bytes.len()).max(1));
            }
            // More output may follow from input that was already consumed.
            Ok(Status::Ok | Status::BufError) if (decoder.total_in(), bytes.len()) != before => {}
            _ => return Err(DecompressError::Broken),
        }
    }
}

/// Returns whether a client accepts gzip, by the values of its `Accept-Encoding`.
pub fn accepts_gzip<'a>(accepted: impl Iterator<Item = &'a str>) -> bool {
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let never = weight.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse::<f32>() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !never
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::{DeflateEncoder, ZlibEncoder};

    fn packed(words: &[u8]) -> [(Coding, Vec<u8>); 3] {
        let (mut zlib, mut raw) =
            (ZlibEncoder::new(Vec::new(), Compression::fast()), DeflateEncoder::new(Vec::new(), Compression::fast()));
        zlib.write_all(words).unwrap();
        raw.write_all(words).unwrap();
        [
            (Coding::Gzip, compress(words, CompressionLevel::Quick)),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, raw.finish().unwrap()),
        ]
    }

    #[test]
    fn what_was_packed_in_any_way_is_unpacked_up_to_the_limit_and_not_a_byte_beyond() {
        for length in [0, 1, 1000, 100_000, 1 << 20] {
            let words: Vec<u8> =
                (0..length).map(|n: u32| n.wrapping_mul(2_654_435_761).to_le_bytes()[3] >> 3).collect();
            for (coding, packed) in packed(&words) {
                assert!(decompress_within(coding, &packed, words.len()).as_ref() == Ok(&words), "{coding:?} {length}");
                assert!(decompress_within(coding, &packed, words.len() + 7).as_ref() == Ok(&words));
                if length > 0 {
                    assert!(decompress_within(coding, &packed, words.len() - 1) == Err(DecompressError::TooLong));
                }
                assert!(words.starts_with(&decompress_prefix(coding, &packed[..packed.len() / 2], 5000)));
            }
        }
    }

    #[test]
    fn what_breaks_off_or_goes_on_is_broken() {
        for (coding, packed) in packed(&b"Your reefer is reading forty five degrees. ".repeat(50)) {
            for end in 0..packed.len() {
                assert_eq!(
                    decompress_within(coding, &packed[..end], 1 << 20),
                    Err(DecompressError::Broken),
                    "{coding:?} {end}"
                );
            }
            let longer = [&packed[..], b"more"].concat();
            assert_eq!(decompress_within(coding, &longer, 1 << 20), Err(DecompressError::Broken), "{coding:?}");
            assert_eq!(decompress_within(coding, b"{\"a\": 1}", 1 << 20), Err(DecompressError::Broken), "{coding:?}");
        }
    }

    #[test]
    fn it_is_taken_where_it_is_named_and_not_weighed_nothing() {
        for taken in ["gzip", "GZIP", "br, gzip", "gzip;q=0.5", "br;q=1.0,gzip ; q=0.001", "deflate, gzip, br, zstd"] {
            assert!(accepts_gzip([taken].into_iter()), "{taken}");
        }
        for refused in ["", "br", "gzip;q=0", "gzip; q=0.000", "x-gzip", "identity", "*"] {
            assert!(!accepts_gzip([refused].into_iter()), "{refused}");
        }
        assert!(accepts_gzip(["br", "gzip"].into_iter()));
    }
}
