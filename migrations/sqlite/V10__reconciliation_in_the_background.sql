-- Turns and records are reconciled after they are stored, by a thread of its own; what is due stands in a table. A turn has
-- two times: its sender's, and that of ElevenLabs' record.
--
-- No column of call_transcriptions has a CHECK here: SQLite would look at every stored turn before the service starts.

PRAGMA user_version = 10;

-- V12 writes into the schema what these three hold, since SQLite drops a comment behind an added column.
ALTER TABLE call_transcriptions ADD COLUMN record_time TEXT;
ALTER TABLE call_transcriptions ADD COLUMN in_record INTEGER;
ALTER TABLE calls ADD COLUMN uncompared INTEGER;

-- Calls whose turns and records are to be reconciled. A row is written by the transaction that stores what makes a call
-- due, and deleted by the one that stores the result.
CREATE TABLE due_reconciliations (
    version INTEGER PRIMARY KEY AUTOINCREMENT, -- another one, never used before, whenever something more is stored
    call_id INTEGER NOT NULL UNIQUE REFERENCES calls (id) ON DELETE CASCADE, -- the call
    since   INTEGER, -- the version since which it is due, if that is another one: the order in which calls have their turn
    slices  INTEGER NOT NULL DEFAULT 0, -- results that were stored while it was due; a plan made before another one is void
    facts   INTEGER NOT NULL CHECK (facts IN (0, 1)) -- whether a record came, so that the call's facts are written again
) STRICT;

-- The times of what is stored already are filled in the background.
INSERT INTO due_reconciliations (call_id, facts) SELECT id, 0 FROM calls WHERE record_event_id IS NOT NULL ORDER BY id;

-- The same view, with the second time and the one that counts at its end.
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
    t.created_at,
    t.in_record, -- 1: ElevenLabs' record after the call has this turn; 0: it was only heard; NULL without such a record
    t.record_time, -- when it was said by ElevenLabs' record, where it has a time
    coalesce(t.record_time, t.timestamp) AS said_at -- record_time, or timestamp without one
FROM call_transcriptions t
JOIN calls c ON c.conversation_id = t.conversation_id
LEFT JOIN drivers d ON d.id = c.driver_id
WHERE t.superseded_by IS NULL;
