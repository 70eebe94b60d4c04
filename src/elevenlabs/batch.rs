//! Parses a batch of calls, the response of `GET /v1/convai/batch-calling/{id}`, into a dispatch per recipient.

use super::lenient::{JsonField, Remarks};
use crate::domain::{ConversationId, NewDispatch};
use serde_json::Value;

/// A parsed batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParsedBatch {
    /// Number of all recipients.
    pub recipients: usize,
    /// Number of recipients who were not called yet, and so have no conversation.
    pub not_called: usize,
    /// Dispatches of the recipients who were called and whose driver is known.
    pub dispatches: Vec<NewDispatch>,
    /// A warning for each other recipient, with the missing field.
    pub remarks: Vec<String>,
}

/// Parses the batch with this id.
///
/// A recipient's driver is the dynamic variable `driver_id`, else the user id, else the recipient's own id, each as a
/// number or in the form `driver_1042`.
pub fn parse_batch(id: &str, batch: &Value) -> ParsedBatch {
    let mut reading = ParsedBatch::default();
    // Unreadable fields count as missing. The consequences are reported per recipient.
    let mut unread = Remarks::default();
    let at = JsonField::new("batch", batch);
    let batch_id = NewDispatch::check_batch_id(id).ok();
    let scheduled = at.get("scheduled_time_unix").unix_seconds(&mut unread);
    for (index, recipient) in at.get("recipients").elements(&mut unread).unwrap_or_default().iter().enumerate() {
        reading.recipients += 1;
        let place = format!("recipients[{index}]");
        let at = JsonField::new(&place, recipient);
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
            (Ok(_), None) => reading.remarks.push(format!("{place}: no field contains a driver's number")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_recipient_becomes_a_dispatch_a_remark_or_is_not_called_yet() {
        for (recipient, driver, remarks, not_called) in [
            (json!({"conversation_id": "c", "id": "7"}), Some(7), 0, 0),
            (
                json!({
                    "conversation_id": "c", "id": "x",
                    "conversation_initiation_client_data": {"user_id": "driver_8"},
                }),
                Some(8),
                0,
                0,
            ),
            (
                json!({"conversation_id": "c", "id": "7", "conversation_initiation_client_data":
                    {"user_id": "8", "dynamic_variables": {"driver_id": 9}}}),
                Some(9),
                0,
                0,
            ),
            (json!({"conversation_id": "c", "id": "rcpt_1"}), None, 1, 0),
            (json!({"conversation_id": "x".repeat(300), "id": "7"}), None, 1, 0),
            (json!({"id": "7"}), None, 0, 1),
            (json!({"conversation_id": null}), None, 0, 1),
            (json!(5), None, 0, 1),
        ] {
            let reading = parse_batch("btcal_1", &json!({"recipients": [recipient]}));
            let drivers: Vec<_> = reading.dispatches.iter().map(|dispatch| dispatch.driver_id.get()).collect();
            assert_eq!(drivers, Vec::from_iter(driver), "{recipient}");
            assert_eq!((reading.remarks.len(), reading.not_called), (remarks, not_called), "{recipient}");
            assert_eq!(reading.recipients, 1);
        }
        for batch in [json!({}), json!(null), json!({"recipients": {}})] {
            assert_eq!(parse_batch("btcal_1", &batch), ParsedBatch::default(), "{batch}");
        }
    }
}
