//! The ids and bodies of notices.

use super::settings::OutgoingSettings;
use crate::domain::{AnsweredBy, Call, CallOutcome, CallStatus, DriverId, NoticeType, Timestamp};
use crate::store::Notice;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Characters that are escaped in a path: all except the unreserved ones of RFC 3986.
const PATH_ESCAPES: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns the `webhook-id` of a notice. It is the same for each endpoint and each try. It depends on the time too,
/// because a restored backup uses the numbers of later notices again.
pub(super) fn webhook_id(notice: &Notice) -> String {
    let Notice { id, kind, conversation_id, at, .. } = notice;
    let digest = Sha256::digest(format!("{id} {at} {} {conversation_id}", kind.as_str()));
    digest[..16].iter().fold(String::from("msg_"), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

#[derive(Serialize)]
struct Body<D> {
    #[serde(rename = "type")]
    kind: NoticeType,
    timestamp: String,
    data: D,
}

#[derive(Serialize)]
struct CallData<'a> {
    conversation_id: &'a str,
    status: CallStatus,
    answered_by: Option<AnsweredBy>,
    outcome: Option<CallOutcome>,
    driver_id: Option<i64>,
    duration_seconds: Option<i64>,
    turn_count: i64,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<&'a str>,
    #[serde(flatten)]
    words: Option<Words<'a>>,
}

/// Personal data, and words of the call.
#[derive(Serialize)]
struct Words<'a> {
    driver_name: Option<&'a str>,
    title: Option<&'a str>,
    summary: Option<&'a str>,
}

#[derive(Serialize)]
struct ErasedCall<'a> {
    conversation_id: &'a str,
}

#[derive(Serialize)]
struct Nothing {}

fn encode<D: Serialize>(kind: NoticeType, at: Timestamp, data: D) -> Vec<u8> {
    serde_json::to_vec(&Body { kind, timestamp: at.to_string(), data }).expect("texts and numbers are valid JSON")
}

/// Returns the body of a test notice.
pub(super) fn test(at: Timestamp) -> Vec<u8> {
    encode(NoticeType::WebhookTest, at, Nothing {})
}

/// Returns the body of a notice about an erased call.
pub(super) fn erased(notice: &Notice) -> Vec<u8> {
    encode(notice.kind, notice.at, ErasedCall { conversation_id: notice.conversation_id.as_str() })
}

/// Returns the body of a notice about a call.
pub(super) fn about_call(notice: &Notice, call: &Call, settings: &OutgoingSettings) -> Vec<u8> {
    let path = utf8_percent_encode(call.conversation_id.as_str(), PATH_ESCAPES);
    let words = settings.words.then_some(Words {
        driver_name: call.driver_name.as_deref(),
        title: call.report.title.as_deref(),
        summary: call.report.summary.as_deref(),
    });
    let data = CallData {
        conversation_id: call.conversation_id.as_str(),
        status: call.status,
        answered_by: call.report.answered_by,
        outcome: call.report.outcome,
        driver_id: call.driver_id.map(DriverId::get),
        duration_seconds: call.duration_seconds(),
        turn_count: call.turn_count,
        url: format!("{}/api/v1/calls/{path}", settings.public_url.as_deref().unwrap_or_default()),
        alert: notice.alert.as_deref(),
        words,
    };
    encode(notice.kind, notice.at, data)
}
