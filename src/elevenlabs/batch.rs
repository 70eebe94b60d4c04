//! A batch of calls as `GET /v1/convai/batch-calling/{id}` answers it: which driver each conversation is with.

use super::lenient::{At, Remarks};
use crate::domain::{ConversationId, NewDispatch};
use serde_json::Value;

/// A batch, as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchReading {
    /// Recipients in all.
    pub recipients: usize,
    /// Those who were not called yet, so that there is no conversation.
    pub not_called: usize,
    /// Those who were called and whose driver is known.
    pub dispatches: Vec<NewDispatch>,
    /// Each of the others, and what is missing.
    pub remarks: Vec<String>,
}

/// Reads a batch of this id. A recipient's driver is the dynamic variable `driver_id`, else the user id, else the
/// recipient's own id, each as a number or as in `driver_1042`.
pub fn read_batch(id: &str, batch: &Value) -> BatchReading {
    let mut reading = BatchReading::default();
    // Single values that cannot be read are not known; what follows from it is said by recipient.
    let mut unread = Remarks::default();
    let at = At::new("batch", batch);
    let batch_id = NewDispatch::check_batch_id(id).ok();
    let scheduled = at.get("scheduled_time_unix").unix_seconds(&mut unread);
    for (index, recipient) in at.get("recipients").elements(&mut unread).unwrap_or_default().iter().enumerate() {
        reading.recipients += 1;
        let place = format!("recipients[{index}]");
        let at = At::new(&place, recipient);
        let Some(conversation) = at.get("conversation_id").text(&mut unread) else {
            reading.not_called += 1;
            continue;
        };
        let client = at.get("conversation_initiation_client_data");
        let driver = [client.get("dynamic_variables").get("driver_id"), client.get("user_id"), at.get("id")]
            .iter()
            .find_map(|named| named.driver(&mut unread));
        match (ConversationId::from_sender(&conversation), driver) {
            (Err(rule), _) => reading.remarks.push(format!("{place}.conversation_id: {rule}")),
            (Ok(_), None) => reading.remarks.push(format!("{place}: nothing in it is a driver's number")),
            (Ok(conversation_id), Some(driver_id)) => reading.dispatches.push(NewDispatch {
                conversation_id,
                driver_id,
                phone_number: at.get("phone_number").phone(&mut unread),
                batch_id: batch_id.clone(),
                dispatched_at: at.get("created_at_unix").unix_seconds(&mut unread).or(scheduled),
            }),
        }
    }
    reading
}
