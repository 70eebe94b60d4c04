-- The same index as before, with the columns by which a driver's calls are ranked and found by number, so that neither
-- reads each call. A turn changes none of them.

PRAGMA user_version = 23;

DROP INDEX calls_driver_start;
CREATE INDEX calls_driver_start ON calls (
    driver_id, call_start_time, id, status, answered_by, outcome, direction, channel, agent_id, main_language,
    environment, has_audio, tool_error, matched, parent_conversation_id, initiation_source, external_number,
    duration_seconds, call_end_time, cost
);
