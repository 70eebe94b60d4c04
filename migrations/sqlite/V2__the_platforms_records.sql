-- The platform's records after (and, as histories, during) a call, and what they make of the call and its turns.
--
-- From here on calls.call_start_time is the first turn's timestamp only until a record says when the call began.

PRAGMA user_version = 2;

-- What the platform posts after a call, as it came, once each. Effects and row are committed together.
CREATE TABLE webhook_events (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    digest          BLOB NOT NULL UNIQUE CHECK (length(digest) = 32), -- SHA-256 of the body
    event_type      TEXT, -- in the platform's words; NULL if it could not be read
    conversation_id TEXT, -- the call that it is about, if it names one; not a reference, since an event may come first
    event_time      TEXT CHECK (length(event_time) = 27), -- when the platform made it
    received_at     TEXT NOT NULL CHECK (length(received_at) = 27),
    outcome         TEXT NOT NULL CHECK (outcome IN ('applied', 'ignored', 'unreadable')), -- ignored: a type not made use of
    error           TEXT, -- why it is unreadable, or which fields of it are
    attempts        INTEGER NOT NULL DEFAULT 1 CHECK (attempts >= 1), -- how often it was read: once, and by each replay
    record          TEXT CHECK (json_valid(record)), -- what was read of it
    body            ANY NOT NULL -- TEXT if it is UTF-8, else BLOB
) STRICT;

CREATE INDEX webhook_events_conversation ON webhook_events (conversation_id) WHERE conversation_id IS NOT NULL;

-- What the history tool showed of a call, all its calls together.
CREATE TABLE call_histories (
    conversation_id TEXT PRIMARY KEY REFERENCES calls (conversation_id) ON DELETE CASCADE,
    agent_id        TEXT,
    claims          TEXT NOT NULL CHECK (json_valid(claims)), -- who was called, as the tool says
    entries         TEXT NOT NULL CHECK (json_valid(entries))
) STRICT;

ALTER TABLE calls ADD COLUMN duration_seconds INTEGER CHECK (duration_seconds >= 0);
ALTER TABLE calls ADD COLUMN agent_id TEXT;
ALTER TABLE calls ADD COLUMN direction TEXT CHECK (direction IN ('inbound', 'outbound'));
ALTER TABLE calls ADD COLUMN termination_reason TEXT; -- free words; 'inactivity' where this service ended it
ALTER TABLE calls ADD COLUMN outcome TEXT CHECK (outcome IN ('success', 'failure', 'unknown')); -- of the goal, not of the call
ALTER TABLE calls ADD COLUMN summary TEXT;
ALTER TABLE calls ADD COLUMN title TEXT;
ALTER TABLE calls ADD COLUMN main_language TEXT;
ALTER TABLE calls ADD COLUMN cost INTEGER; -- in the platform's credits
ALTER TABLE calls ADD COLUMN external_number TEXT; -- the number at the other end
ALTER TABLE calls ADD COLUMN batch_id TEXT; -- the platform's batch of calls
ALTER TABLE calls ADD COLUMN analysis TEXT CHECK (json_valid(analysis)); -- the platform's analysis
ALTER TABLE calls ADD COLUMN driver_source TEXT -- how driver_id became known
    CHECK (driver_source IN ('dispatch', 'dynamic_variable', 'user_id', 'batch_recipient', 'phone_number'));
ALTER TABLE calls ADD COLUMN driver_conflict TEXT; -- what says another driver, in words
ALTER TABLE calls ADD COLUMN driver_claims TEXT CHECK (json_valid(driver_claims)); -- what the records say about the driver
ALTER TABLE calls ADD COLUMN record_event_id INTEGER; -- webhook_events.id of the record that knows most
-- What came of bringing turns and record together; NULL while there is no record.
ALTER TABLE calls ADD COLUMN live_only INTEGER; -- heard, and not in the record
ALTER TABLE calls ADD COLUMN matched INTEGER; -- heard, and in the record
ALTER TABLE calls ADD COLUMN added INTEGER; -- in the record, and not heard
ALTER TABLE calls ADD COLUMN corrected INTEGER; -- of those matched, heard with other words
ALTER TABLE calls ADD COLUMN repeated INTEGER; -- heard once more than the record has them

UPDATE calls SET driver_source = 'dispatch' WHERE driver_id IS NOT NULL;

ALTER TABLE call_transcriptions ADD COLUMN final_text TEXT; -- the record's words where they differ from message_text
ALTER TABLE call_transcriptions ADD COLUMN interrupted INTEGER CHECK (interrupted IN (0, 1));
ALTER TABLE call_transcriptions ADD COLUMN place INTEGER; -- in the conversation's true order, 1, 2, 3 …; NULL without a record
ALTER TABLE call_transcriptions ADD COLUMN superseded_by INTEGER; -- sequence_number of the turn that stands for this one
ALTER TABLE call_transcriptions ADD COLUMN record_index INTEGER; -- of a turn made for an entry of a record: the entry's index

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
    (SELECT count(*) FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id
        AND t.speaker_type = 'agent' AND t.superseded_by IS NULL) AS agent_turns,
    (SELECT count(*) FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id
        AND t.speaker_type = 'driver' AND t.superseded_by IS NULL) AS driver_turns,
    c.first_turn_time,
    c.last_turn_time,
    c.outcome,
    c.termination_reason,
    c.title,
    c.summary
FROM calls c
LEFT JOIN drivers d ON d.id = c.driver_id;

-- One row a turn, without those that another one stands for. ORDER BY conversation_id, place, timestamp,
-- sequence_number reads a call as it went.
DROP VIEW transcript;
CREATE VIEW transcript AS
SELECT
    t.conversation_id,
    t.sequence_number,
    t.place,
    t.timestamp,
    t.speaker_type,
    coalesce(t.final_text, t.message_text) AS message_text,
    t.message_text AS text_as_heard,
    t.interrupted,
    c.driver_id,
    d.name AS driver_name,
    c.status AS call_status,
    c.call_start_time,
    t.source,
    t.id AS transcription_id,
    t.created_at
FROM call_transcriptions t
JOIN calls c ON c.conversation_id = t.conversation_id
LEFT JOIN drivers d ON d.id = c.driver_id
WHERE t.superseded_by IS NULL;
