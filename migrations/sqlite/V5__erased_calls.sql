-- What was erased stays erased: the platform's records of a call, which would bring its words back, are not kept again.

PRAGMA user_version = 5;

CREATE TABLE erased_calls (
    digest    BLOB PRIMARY KEY CHECK (length(digest) = 32), -- SHA-256 of the conversation_id
    erased_at TEXT NOT NULL CHECK (length(erased_at) = 27)
) STRICT, WITHOUT ROWID;

-- Events that name no call, in whose bodies a call that is erased is looked for: few, out of many.
CREATE INDEX webhook_events_unattributed ON webhook_events (id) WHERE conversation_id IS NULL;

-- The same view as before, without count(*), which DuckDB makes something of that SQLite does not know.
DROP VIEW call_overview;
CREATE VIEW call_overview AS
SELECT
    c.conversation_id,
    c.status,
    c.driver_id,
    d.name AS driver_name,
    c.call_start_time,
    c.call_end_time,
    round((julianday(c.call_end_time) - julianday(c.call_start_time)) * 86400, 3) AS duration_seconds,
    c.turn_count,
    (SELECT count(t.id) FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id
        AND t.speaker_type = 'agent' AND t.superseded_by IS NULL) AS agent_turns,
    (SELECT count(t.id) FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id
        AND t.speaker_type = 'driver' AND t.superseded_by IS NULL) AS driver_turns,
    c.first_turn_time,
    c.last_turn_time,
    c.outcome,
    c.termination_reason,
    c.title,
    c.summary
FROM calls c
LEFT JOIN drivers d ON d.id = c.driver_id;
