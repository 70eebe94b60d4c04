//! A call's recording, whole or as a byte range, so that a player can seek.

use crate::api::error::{ApiError, AudioErrors, Errors};
use crate::api::error_code::ErrorCode;
use crate::api::pagination::reject_query_params;
use crate::api::tag::Tag;
use crate::recordings::Recordings;
use poem::http::header;
use poem::web::headers::{HeaderMapExt as _, IfRange, LastModified};
use poem::{Body, Request};
use poem_openapi::param::Path;
use poem_openapi::payload::Binary;
use poem_openapi::{ApiResponse, OpenApi};
use std::io::SeekFrom;
use std::time::SystemTime;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

pub(in crate::api) struct AudioApi {
    pub(in crate::api) recordings: Option<Recordings>,
}

#[derive(ApiResponse)]
pub(in crate::api) enum Recording {
    /// The whole recording.
    #[oai(status = 200, content_type = "audio/mpeg")]
    Whole(
        Binary<Body>,
        /// `bytes`: byte ranges are supported.
        #[oai(header = "Accept-Ranges")]
        String,
        /// Size of the recording, in bytes.
        #[oai(header = "Content-Length")]
        String,
        /// Time at which the recording was received.
        #[oai(header = "Last-Modified")]
        String,
    ),
    /// The range that the `Range` header requested.
    #[oai(status = 206, content_type = "audio/mpeg")]
    Part(
        Binary<Body>,
        /// First byte, last byte and size of the recording.
        #[oai(header = "Content-Range")]
        String,
        /// Size of the range, in bytes.
        #[oai(header = "Content-Length")]
        String,
        /// Time at which the recording was received.
        #[oai(header = "Last-Modified")]
        String,
    ),
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Calls")]
impl AudioApi {
    /// Get a call's recording
    ///
    /// MP3, as ElevenLabs sent it. The header `Range` requests one byte range; a request for several ranges gets the
    /// whole recording.
    #[oai(path = "/calls/:conversation_id/audio", method = "get", operation_id = "get_audio")]
    async fn get_audio(
        &self,
        request: &Request,
        /// ElevenLabs' id of the call.
        conversation_id: Path<String>,
    ) -> Result<Recording, Errors<AudioErrors>> {
        reject_query_params(request)?;
        recording(self.recordings.as_ref(), request, &conversation_id.0).await
    }
}

/// Returns the recording of a call, or the byte range that the request's `Range` header names.
pub(in crate::api) async fn recording(
    recordings: Option<&Recordings>,
    request: &Request,
    conversation_id: &str,
) -> Result<Recording, Errors<AudioErrors>> {
    let id = crate::api::path_params::conversation_id(conversation_id)?;
    let none = || ApiError::NotFound(ErrorCode::RecordingNotFound, format!("call {conversation_id} has no recording"));
    let recordings = recordings.cloned().ok_or_else(none)?;
    let opened = tokio::task::spawn_blocking(move || recordings.open_recording(&id)).await;
    let file = opened.map_err(|error| ApiError::Internal(error.to_string()))?.map_err(|_| none())?;
    let mut file = File::from_std(file);
    let failed = |error: std::io::Error| ApiError::Internal(format!("the recording cannot be read: {error}"));
    let about = file.metadata().await.map_err(failed)?;
    let (length, modified) = (about.len(), about.modified().map_err(failed)?);
    let last_modified = httpdate::fmt_http_date(modified);
    match requested_range(request, length, modified) {
        ByteRange::Whole => Ok(Recording::Whole(
            Binary(Body::from_async_read(file)),
            "bytes".to_owned(),
            length.to_string(),
            last_modified,
        )),
        ByteRange::Bytes { first, last } => {
            file.seek(SeekFrom::Start(first)).await.map_err(failed)?;
            let count = last - first + 1;
            Ok(Recording::Part(
                Binary(Body::from_async_read(file.take(count))),
                format!("bytes {first}-{last}/{length}"),
                count.to_string(),
                last_modified,
            ))
        }
        ByteRange::None => Err(ApiError::NoSuchPart(length).into()),
    }
}

/// The requested part of a recording.
#[derive(Debug, PartialEq, Eq)]
enum ByteRange {
    /// The whole recording.
    Whole,
    /// An inclusive byte range.
    Bytes { first: u64, last: u64 },
    /// A range outside of the recording.
    None,
}

fn requested_range(request: &Request, length: u64, modified: SystemTime) -> ByteRange {
    let headers = request.headers();
    // As HTTP requires, a header that is malformed or names several ranges is ignored.
    let ranges = headers.get(header::RANGE).and_then(|value| value.to_str().ok()?.strip_prefix("bytes="));
    let Some((from, to)) = ranges.and_then(|range| range.trim().split_once('-')) else { return ByteRange::Whole };
    // A range of a changed recording would not fit what the client already has.
    let another = |condition: IfRange| condition.is_modified(None, Some(&LastModified::from(modified)));
    if headers.typed_get::<IfRange>().is_some_and(another) {
        return ByteRange::Whole;
    }
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let end = length.saturating_sub(1);
    let (first, last) = match (number(from), number(to)) {
        (Some(first), None) if to.is_empty() => (first, end),
        (Some(first), Some(last)) if first <= last => (first, last.min(end)),
        (None, Some(count)) if from.is_empty() => (length.saturating_sub(count), end),
        _ => return ByteRange::Whole,
    };
    if first < length { ByteRange::Bytes { first, last } } else { ByteRange::None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn range_of(headers: &[(&str, &str)]) -> ByteRange {
        let request = headers.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
        requested_range(&request.finish(), 1000, SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000))
    }

    #[test]
    fn parts_are_cut_to_what_there_is() {
        let bytes = |first, last| ByteRange::Bytes { first, last };
        for (range, wanted) in [
            ("bytes=0-", bytes(0, 999)),
            ("bytes=0-0", bytes(0, 0)),
            ("bytes=10-19", bytes(10, 19)),
            ("bytes=990-5000", bytes(990, 999)),
            ("bytes=-100", bytes(900, 999)),
            ("bytes=-5000", bytes(0, 999)),
            ("bytes=999-", bytes(999, 999)),
            ("bytes=1000-", ByteRange::None),
            ("bytes=5000-6000", ByteRange::None),
            ("bytes=0-1,5-6", ByteRange::Whole),
            ("bytes=0-1-2", ByteRange::Whole),
            ("bytes=-", ByteRange::Whole),
            ("bytes=+1-2", ByteRange::Whole),
            ("lines=1-2", ByteRange::Whole),
            ("bytes=5-1", ByteRange::Whole),
            ("bytes=x-", ByteRange::Whole),
            ("bytes=18446744073709551615-18446744073709551615", ByteRange::None),
            ("bytes=-0", ByteRange::None),
        ] {
            assert_eq!(range_of(&[("range", range)]), wanted, "{range}");
        }
    }

    #[test]
    fn a_part_of_another_version_is_not_given() {
        let (same, other) = ("Mon, 21 Sep 2026 14:13:20 GMT", "Mon, 21 Sep 2026 14:13:19 GMT");
        let first = ByteRange::Bytes { first: 0, last: 9 };
        assert_eq!(range_of(&[("range", "bytes=0-9"), ("if-range", same)]), first);
        assert_eq!(range_of(&[("range", "bytes=0-9"), ("if-range", other)]), ByteRange::Whole);
        assert_eq!(range_of(&[("range", "bytes=0-9"), ("if-range", "\"tag\"")]), ByteRange::Whole);
    }
}
