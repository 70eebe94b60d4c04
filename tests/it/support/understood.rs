//! A call whose facts are all understood.

use crate::support::service::Service;
use crate::support::turns::turn;
use rusqlite::Connection;

/// Changes the file as the reconciliation of a record does.
pub fn change(service: &Service, sql: &str) {
    Connection::open(service.database()).unwrap().execute_batch(sql).unwrap();
}

/// A call with every column of what is understood, three tool calls and turns of each kind.
pub fn whole() -> Service {
    let service = Service::start();
    for n in 0..6 {
        service.deliver(&turn("conv_a", n)).expect(201);
    }
    change(
        &service,
        "UPDATE calls SET answered_by = 'human', answered_by_source = 'call_result', \
            answered_by_conflict = 'amd: voicemail', channel = 'phone', environment = 'production', \
            branch_id = 'br_1', version_id = 'ver_1', call_sid = 'CA1', agent_number = '+15550100001', \
            agent_name = 'Reefer checks', cost_usd = 0.25, queue_wait_seconds = 1.5, \
            accepted_time = '2026-09-28T12:00:00.000000Z', campaign = 'Autumn', tags = '[\"late\",\"reefer\"]', \
            conversation_product = 'agents', sentiment = 'positive', record_complete = 1, \
            initiation_source = 'twilio', status = 'completed', termination_reason = 'Call ended by remote party';
         UPDATE call_transcriptions SET place = sequence_number;
         UPDATE call_transcriptions SET kind = 'silence' WHERE sequence_number = 1;
         UPDATE call_transcriptions SET metrics = '{\"convai_llm_service_ttfb\":0.25}' WHERE sequence_number = 2;
         UPDATE call_transcriptions SET kind = 'keypad' WHERE sequence_number = 3;
         UPDATE call_transcriptions SET kind = 'context' WHERE sequence_number = 4;
         INSERT INTO tool_calls (conversation_id, position, after_place, name, type, purpose, arguments, result, \
            is_error, latency_ms, at) VALUES \
            ('conv_a', 1, 0, 'greeting', 'webhook', 'tool', '{\"a\":1}', NULL, NULL, NULL, NULL), \
            ('conv_a', 2, 2, 'set_point', 'webhook', 'tool', '{}', '{\"ok\":true}', 0, 412, \
             '2026-09-28T12:00:00.005000Z'), \
            ('conv_a', 3, 6, 'end_call', 'system', 'end_call', NULL, 'failed', 1, NULL, NULL);",
    );
    service
}
