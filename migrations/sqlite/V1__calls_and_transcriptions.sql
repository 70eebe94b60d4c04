-- The first schema. Times are text, UTC, of the fixed width YYYY-MM-DDTHH:MM:SS.ffffffZ, so that their order as text
-- is their order in time. What stands beside a column stays readable in the file (`.schema` in sqlite3).

PRAGMA application_id = 1414678603; -- 'TRHK'
PRAGMA user_version = 1; -- each migration sets its own number: a binary refuses a file with a greater one

CREATE TABLE drivers (
    id           INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 9007199254740991), -- the fleet's number
    name         TEXT NOT NULL CHECK (name <> ''),
    phone_number TEXT UNIQUE CHECK (phone_number GLOB '+[1-9]*'), -- E.164
    created_at   TEXT NOT NULL CHECK (length(created_at) = 27),
    updated_at   TEXT NOT NULL CHECK (length(updated_at) = 27)
) STRICT;

CREATE TABLE call_dispatches (
    conversation_id TEXT PRIMARY KEY, -- the platform's name for the call
    driver_id       INTEGER REFERENCES drivers (id) ON DELETE SET NULL, -- who was called
    phone_number    TEXT, -- the number that was dialled, E.164
    batch_id        TEXT, -- the platform's batch of calls
    dispatched_at   TEXT NOT NULL CHECK (length(dispatched_at) = 27)
) STRICT;

CREATE INDEX call_dispatches_driver ON call_dispatches (driver_id);

CREATE TABLE calls (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation_id TEXT NOT NULL UNIQUE CHECK (conversation_id <> ''), -- the platform's name for the call
    driver_id       INTEGER REFERENCES drivers (id) ON DELETE SET NULL, -- NULL while unknown
    call_start_time TEXT NOT NULL CHECK (length(call_start_time) = 27), -- the first turn's timestamp
    call_end_time   TEXT CHECK (length(call_end_time) = 27 AND call_end_time >= call_start_time),
    status          TEXT NOT NULL DEFAULT 'in_progress' CHECK (status IN ('in_progress', 'completed', 'failed')),
    turn_count      INTEGER NOT NULL DEFAULT 0 CHECK (turn_count >= 0), -- also the last sequence_number
    first_turn_time TEXT CHECK (length(first_turn_time) = 27), -- the earliest timestamp of its turns
    last_turn_time  TEXT CHECK (length(last_turn_time) = 27), -- the latest
    created_at      TEXT NOT NULL CHECK (length(created_at) = 27),
    updated_at      TEXT NOT NULL CHECK (length(updated_at) = 27)
) STRICT;

CREATE INDEX calls_start ON calls (call_start_time);
CREATE INDEX calls_driver_start ON calls (driver_id, call_start_time);
CREATE INDEX calls_status_start ON calls (status, call_start_time);

CREATE TABLE call_transcriptions (
    id              INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice, so that "newer than id N" has one meaning
    conversation_id TEXT NOT NULL REFERENCES calls (conversation_id) ON DELETE CASCADE,
    speaker_type    TEXT NOT NULL CHECK (speaker_type IN ('agent', 'driver')),
    message_text    TEXT NOT NULL CHECK (message_text <> ''),
    timestamp       TEXT NOT NULL CHECK (length(timestamp) = 27), -- when it was said, by the sender
    sequence_number INTEGER NOT NULL CHECK (sequence_number >= 1), -- 1, 2, 3 … in a call, in order of arrival
    created_at      TEXT NOT NULL CHECK (length(created_at) = 27), -- when it was stored
    source          TEXT NOT NULL DEFAULT 'live' CHECK (source IN ('live', 'history', 'post_call', 'import')),
    delivery_key    TEXT, -- the sender's Idempotency-Key or tool_call_id
    repeat_key      INTEGER NOT NULL, -- calls.id * 2^32 + 32 bits of a digest of speaker, time and words: finds a repeat
    UNIQUE (conversation_id, sequence_number)
) STRICT;

-- The unique index above begins with conversation_id, so it serves look-ups by it too.
CREATE INDEX call_transcriptions_sequence ON call_transcriptions (sequence_number);
CREATE INDEX call_transcriptions_repeat ON call_transcriptions (repeat_key);
CREATE UNIQUE INDEX call_transcriptions_delivery ON call_transcriptions (conversation_id, delivery_key)
    WHERE delivery_key IS NOT NULL;

-- One row a call.
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
    (SELECT count(*) FROM call_transcriptions t
      WHERE t.conversation_id = c.conversation_id AND t.speaker_type = 'agent') AS agent_turns,
    (SELECT count(*) FROM call_transcriptions t
      WHERE t.conversation_id = c.conversation_id AND t.speaker_type = 'driver') AS driver_turns,
    c.first_turn_time,
    c.last_turn_time
FROM calls c
LEFT JOIN drivers d ON d.id = c.driver_id;

-- One row a turn. ORDER BY conversation_id, sequence_number reads a call as it went.
CREATE VIEW transcript AS
SELECT
    t.conversation_id,
    t.sequence_number,
    t.timestamp,
    t.speaker_type,
    t.message_text,
    c.driver_id,
    d.name AS driver_name,
    c.status AS call_status,
    c.call_start_time,
    t.source,
    t.id AS transcription_id,
    t.created_at
FROM call_transcriptions t
JOIN calls c ON c.conversation_id = t.conversation_id
LEFT JOIN drivers d ON d.id = c.driver_id;
