//! The history webhook: a running call's server tool sends the conversation so far.

use crate::api::body::{JsonBody, JsonOk};
use crate::api::error::{ApiError, Errors, RecordErrors};
use crate::api::request_context;
use crate::api::tag::Tag;
use crate::domain::describe_remarks;
use crate::elevenlabs::parse_history;
use crate::ingest::event;
use crate::ingest::reconciler::MAX_RESPONSE_WAIT;
use crate::ingest::{WriteError, Writer};
use crate::store::Rejection;
use crate::store::command::KeepHistory;
use poem_openapi::types::{Any, Example};
use poem_openapi::{Object, OpenApi};
use serde_json::Value;

pub(in crate::api) struct HistoryApi {
    pub(in crate::api) writer: Writer,
}

/// The conversation so far, from ElevenLabs' system variables. Unknown fields are ignored.
#[derive(Debug, Object)]
#[oai(example)]
struct HistoryDelivery {
    /// ElevenLabs' id of the call: `system__conversation_id`.
    #[oai(validator(min_length = 1, max_length = 256))]
    conversation_id: String,
    /// Time of the tool call: `system__time_utc`.
    timestamp: String,
    /// The conversation so far: `system__conversation_history`, the JSON of an object with `entries` of `role` and
    /// `message`. The object itself is accepted too.
    history: String,
    /// ElevenLabs' id of the agent.
    agent_id: Option<String>,
    /// The driver who is called.
    driver_id: Option<String>,
    /// ElevenLabs' user id: a driver's number, also in the form `driver_1042`.
    user_id: Option<String>,
    /// The telephone provider's id of the call, a text: `system__call_sid`. It links an inbound call with its driver.
    /// Anything else is ignored.
    call_sid: Option<Any<Value>>,
}

impl Example for HistoryDelivery {
    fn example() -> Self {
        Self {
            conversation_id: "conv_1901kaj4pr1penza6bbkscg6hgkc".to_owned(),
            timestamp: "2026-09-28T12:00:08.123456+00:00".to_owned(),
            history: "{\"entries\":[{\"role\":\"user\",\"message\":\"Yeah, I'm parked.\"}]}".to_owned(),
            agent_id: Some("agent_5501k9czkv3qepy815bm59nt04qk".to_owned()),
            driver_id: Some("1042".to_owned()),
            user_id: Some("driver_1042".to_owned()),
            call_sid: Some(Any("CA5d1f0a6d9be74c4f8c1d2e3f4a5b6c7d".into())),
        }
    }
}

/// Confirmation that the history is on disk; short, because the agent reads it.
#[derive(Debug, Object)]
#[oai(example)]
struct HistoryStored {
    /// Always `success`.
    status: String,
}

impl Example for HistoryStored {
    fn example() -> Self {
        Self { status: "success".to_owned() }
    }
}

#[OpenApi(tag = "Tag::Webhooks")]
impl HistoryApi {
    /// Store the conversation so far
    ///
    /// Stores the turns that are not stored yet. Repeated requests are harmless, and supply turns of requests that
    /// failed. Entries without text, such as tool calls, are not turns.
    #[oai(path = "/webhooks/elevenlabs/history", method = "post", operation_id = "store_history")]
    async fn store_history(
        &self,
        body: JsonBody<HistoryDelivery>,
    ) -> Result<JsonOk<HistoryStored>, Errors<RecordErrors>> {
        let report = parse_history(&body.bytes).map_err(|problems| ApiError::fields(&problems))?;
        let conversation_id = report.conversation_id.clone();
        let remarks = report.remarks.clone();
        request_context::set_conversation(&conversation_id);
        match self.writer.execute(KeepHistory(Box::new(report))).await {
            // The response is still 200, because the agent cannot do anything about it.
            Err(WriteError::Rejected(Rejection::Erased)) => {
                tracing::info!(conversation_id = conversation_id.as_str(), "history dropped: call erased");
            }
            Err(error) => return Err(error.into()),
            Ok(_) => {
                // The history is stored even if this fails; the call shows the result later.
                let counts = self.writer.requests().reconciled(&conversation_id, MAX_RESPONSE_WAIT).await;
                tracing::debug!(
                    conversation_id = conversation_id.as_str(),
                    added = counts.ok().flatten().map(|counts| counts.added),
                    "stored history"
                );
            }
        }
        if let Some(text) = describe_remarks(&remarks) {
            let kinds: Vec<_> = remarks.iter().map(|remark| remark.kind).collect();
            event::count_remarks(&kinds);
            let conversation_id = conversation_id.as_str();
            tracing::warn!(conversation_id, remarks = text, "parts of a history could not be parsed");
        }
        Ok(JsonOk(HistoryStored::example()))
    }
}
