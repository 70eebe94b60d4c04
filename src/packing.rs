//! Packing of what is sent, by gzip, which every browser takes.

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::io::{Read as _, Write as _};

/// How much time packing may take.
#[derive(Debug, Clone, Copy)]
pub enum Effort {
    /// Little, for what is packed for one reader.
    Quick,
    /// As much as it wants, for what is packed once.
    Best,
}

/// Packs some bytes.
pub fn pack(bytes: &[u8], effort: Effort) -> Vec<u8> {
    let level = match effort {
        Effort::Quick => Compression::fast(),
        Effort::Best => Compression::best(),
    };
    let mut packer = GzEncoder::new(Vec::new(), level);
    packer.write_all(bytes).expect("memory takes it");
    packer.finish().expect("memory takes it")
}

/// What was packed by [`pack`], or another way when this program was made.
pub fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).expect("what this program packed itself is whole");
    bytes
}

/// Whether a client takes what is packed, by the values of its `Accept-Encoding`.
pub fn is_taken<'a>(accepted: impl Iterator<Item = &'a str>) -> bool {
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let never = weight.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse::<f32>() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !never
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_taken_where_it_is_named_and_not_weighed_nothing() {
        for taken in ["gzip", "GZIP", "br, gzip", "gzip;q=0.5", "br;q=1.0,gzip ; q=0.001", "deflate, gzip, br, zstd"] {
            assert!(is_taken([taken].into_iter()), "{taken}");
        }
        for refused in ["", "br", "gzip;q=0", "gzip; q=0.000", "x-gzip", "identity", "*"] {
            assert!(!is_taken([refused].into_iter()), "{refused}");
        }
        assert!(is_taken(["br", "gzip"].into_iter()));
    }
}
