//! The domain types: calls, turns, drivers, dispatches, times, and the records of ElevenLabs.
//!
//! Values are valid by construction: the holder of a [`ConversationId`] or a [`PhoneNumber`] need not check it again.
//! This module does not depend on HTTP, SQL or the clock.

mod access;
mod answered;
mod bounded_json;
mod call;
mod call_stats;
mod caller;
mod channel;
mod driver;
pub mod driver_form;
mod end_reason;
mod finite;
mod folding;
mod ids;
mod invalid;
mod iso8601;
mod json_text;
mod loopback;
mod merged_record;
mod month;
mod notice;
mod number_end;
mod percentiles;
mod phone;
mod placeholder;
pub mod reconcile;
mod record;
mod redacted;
mod remark;
pub mod repair;
pub mod result_sums;
mod said_by;
mod search_expr;
mod shown_url;
mod spelling;
pub mod stats;
mod stored_text;
mod timestamp;
mod tool_call;
mod turn;
pub mod turn_metrics;
pub mod validation;
mod word_match;

pub use access::{Access, AccessAction, Credential, Identity, Role, UserName};
pub use answered::{Answer, AnswerClaims, AnsweredBy, AnsweredBySource, CallResult};
pub use bounded_json::BoundedJson;
pub use call::{
    Call, CallAlert, CallChange, CallEnd, CallOutcome, CallReport, CallStatus, Direction, LastMessage, ReconcileCounts,
};
pub use call_stats::{CallStats, SpeakerStats, TalkTime};
pub use caller::{Caller, LastCall, NewInitiation};
pub use channel::Channel;
pub use driver::{Dispatch, Driver, DriverSource, NewDispatch, NewDriver};
pub use end_reason::{EndFacts, EndReason};
pub use finite::Finite;
pub use folding::fold;
pub use ids::{CallSid, ConversationId, DriverId};
pub use invalid::Invalid;
pub use loopback::{is_loopback, is_loopback_url};
pub use merged_record::MergedRecord;
pub use notice::NoticeType;
pub use number_end::NumberEnd;
pub use phone::PhoneNumber;
pub use placeholder::{placeholder, unfilled};
pub use record::{
    CallDetails, DriverClaims, Entry, EventOutcome, Facts, History, HistoryEntry, HistoryReport, NewEvent,
    READER_VERSION, Record, RecordKind, StoredEvent, StoredRecord,
};
pub use remark::{Remark, RemarkKind, describe_remarks};
pub use said_by::SaidBy;
pub use search_expr::{SearchExpr, Snippet, SnippetPart};
pub use shown_url::shown_url;
pub use timestamp::Timestamp;
pub use tool_call::{MAX_TOOL_CALLS, PlacedToolCall, ToolCall, ToolPurpose};
pub use turn::{
    DeliveryKey, MAX_MESSAGE_BYTES, MAX_STORED_MESSAGE_BYTES, Message, NewTurn, Source, Speaker, Turn, TurnKind,
    without_nul,
};
pub use word_match::{begins_at_word, contains_from_word, part_of_word};
