//! `Content-Encoding` of request bodies. Gzip and deflate are decompressed up to the body's maximum size.

use super::error::ApiError;
use crate::sys::gzip::{Coding, DecompressError, decompress_within};
use poem::http::{HeaderMap, HeaderValue, header};

/// Returns the `Content-Encoding` of a body, if it has one.
///
/// # Errors
/// 415: the encoding is not supported, or there are several.
pub(super) fn coding_of(headers: &HeaderMap) -> Result<Option<Coding>, ApiError> {
    if !headers.contains_key(header::CONTENT_ENCODING) {
        return Ok(None);
    }
    let values: Result<Vec<&str>, _> =
        headers.get_all(header::CONTENT_ENCODING).iter().map(HeaderValue::to_str).collect();
    let values = values.map_err(|_| ApiError::UnknownCoding("a value that is not ASCII".to_owned()))?.join(",");
    let mut names = values.split(',').map(str::trim).filter(|name| {
        // Empty elements of a list are ignored.
        !name.is_empty() && !name.eq_ignore_ascii_case("identity")
    });
    let Some(name) = names.next() else { return Ok(None) };
    let coding = match name.to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => Coding::Gzip,
        "deflate" => Coding::Deflate,
        _ => return Err(refused(name)),
    };
    if names.next().is_some() { Err(refused(values.trim())) } else { Ok(Some(coding)) }
}

fn refused(coding: &str) -> ApiError {
    const MAX_SHOWN_CHARS: usize = 40;
    let shown: String = coding.chars().take(MAX_SHOWN_CHARS).collect();
    let more = if shown.len() < coding.len() { "…" } else { "" };
    ApiError::UnknownCoding(format!("{shown}{more}"))
}

/// Decompresses a whole body.
///
/// # Errors
/// 413: the decompressed body is longer than `limit` bytes. 400: the data is corrupt or incomplete.
pub(super) fn unpacked(coding: Coding, body: &[u8], limit: usize) -> Result<Vec<u8>, ApiError> {
    decompress_within(coding, body, limit).map_err(|error| match error {
        DecompressError::TooLong => ApiError::TooLarge(limit),
        DecompressError::Broken => {
            let name = coding.name();
            ApiError::body_rule(format_args!("must be complete {name} data, as Content-Encoding says"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_coding_that_is_known_is_read_and_any_other_is_named() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            coding_of(&headers)
        };
        for none in [&[][..], &["identity"], &["Identity, identity"], &[""], &["identity", ""]] {
            assert_eq!(read(none), Ok(None), "{none:?}");
        }
        for gzip in [&["gzip"][..], &["GZIP"], &["x-gzip"], &[" gzip ,identity"], &["identity", "gzip"]] {
            assert_eq!(read(gzip), Ok(Some(Coding::Gzip)), "{gzip:?}");
        }
        assert_eq!(read(&["Deflate"]), Ok(Some(Coding::Deflate)));
        for (other, named) in [
            (&["br"][..], "br"),
            (&["zstd"], "zstd"),
            (&["gzip, br"], "gzip, br"),
            (&["gzip", "gzip"], "gzip,gzip"),
            (&["deflate,gzip"], "deflate,gzip"),
            (&["compress"], "compress"),
            (&["gzip;q=1"], "gzip;q=1"),
        ] {
            assert_eq!(read(other), Err(ApiError::UnknownCoding(named.to_owned())), "{other:?}");
        }
    }
}
