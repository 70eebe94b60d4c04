-- The index behind the search moves into a file of its own beside this one (`<database>.search`), because SQLite before 3.42
-- cannot open an index that forgets what is erased. This file holds plain tables only, from which the index is made.
--
-- The rest changes the schema's text and no row: rules that take NULL before SQLite 3.42, and a comment for each column.

PRAGMA user_version = 12;

DROP TRIGGER turn_search_forgets;
DROP TRIGGER turn_search_learns;
DROP TRIGGER turn_search_said_again;
DROP TRIGGER turn_search_began_again;
DROP TRIGGER turn_search_span_goes;
DROP TABLE turn_search_words;
DROP TABLE turn_search;
DROP TABLE turn_search_state;
DROP TABLE turn_search_spans;

CREATE TABLE search_index (
    only     INTEGER PRIMARY KEY CHECK (only = 1), -- the table has one row
    index_id TEXT NOT NULL CHECK (length(index_id) = 32) -- random name of the search index that belongs to this file
) STRICT;

INSERT INTO search_index (only, index_id) VALUES (1, lower(hex(randomblob(16))));

-- What the search index does not know yet. Triggers fill it, so that the index hears of each change, whoever writes. The
-- service deletes a row once the index has the change.
CREATE TABLE search_changes (
    id      INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice; greater for later changes
    turn_id INTEGER, -- call_transcriptions.id of a turn that was deleted or imported, or whose words or time changed
    call_id INTEGER, -- calls.id of a call whose start changed
    CHECK ((turn_id IS NULL) <> (call_id IS NULL))
) STRICT;

CREATE INDEX search_changes_turn ON search_changes (turn_id) WHERE turn_id IS NOT NULL;

CREATE TRIGGER search_turn_deleted AFTER DELETE ON call_transcriptions
BEGIN
    INSERT INTO search_changes (turn_id) VALUES (old.id);
END;

CREATE TRIGGER search_turn_changed AFTER UPDATE OF final_text, message_text, timestamp ON call_transcriptions
WHEN (old.final_text, old.message_text, old.timestamp) IS NOT (new.final_text, new.message_text, new.timestamp)
BEGIN
    INSERT INTO search_changes (turn_id) VALUES (new.id);
END;

CREATE TRIGGER search_turn_renumbered AFTER UPDATE OF id ON call_transcriptions
WHEN old.id <> new.id
BEGIN
    INSERT INTO search_changes (turn_id) VALUES (old.id), (new.id);
END;

CREATE TRIGGER search_call_moved AFTER UPDATE OF call_start_time ON calls
WHEN old.call_start_time <> new.call_start_time
BEGIN
    INSERT INTO search_changes (call_id) VALUES (new.id);
END;

-- Days are counted from the digits, because a view with julianday() makes DuckDB show every column as text.
DROP VIEW call_overview;
CREATE VIEW call_overview AS
SELECT
    c.conversation_id, -- ElevenLabs' name for the call
    c.status, -- in_progress, completed or failed
    c.driver_id, -- the fleet's number of the driver, NULL while unknown
    d.name AS driver_name, -- the driver's name
    c.call_start_time, -- when the call began
    c.call_end_time, -- when it ended, NULL while it runs
    CAST(round(
        86400.0 * (
            365 * (c.end_year - c.start_year)
            + (c.end_year - c.end_year % 4) / 4 - (c.start_year - c.start_year % 4) / 4
            - (c.end_year - c.end_year % 100) / 100 + (c.start_year - c.start_year % 100) / 100
            + (c.end_year - c.end_year % 400) / 400 - (c.start_year - c.start_year % 400) / 400
            + c.end_day - c.start_day
        ) + c.end_second - c.start_second, 3) AS DOUBLE) AS duration_seconds, -- from start to end, to the millisecond
    c.turn_count, -- number of turns as they arrived
    CAST((SELECT count(t.id) FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id
        AND t.speaker_type = 'agent' AND t.superseded_by IS NULL) AS INTEGER) AS agent_turns, -- of the agent, in the transcript
    CAST((SELECT count(t.id) FROM call_transcriptions t WHERE t.conversation_id = c.conversation_id
        AND t.speaker_type = 'driver' AND t.superseded_by IS NULL) AS INTEGER) AS driver_turns, -- of the driver, in the transcript
    c.first_turn_time, -- the earliest timestamp of its turns
    c.last_turn_time, -- the latest
    c.outcome, -- success, failure or unknown: whether the agent reached the call's goal
    c.termination_reason, -- why the call ended, in ElevenLabs' words
    c.title, -- ElevenLabs' title for the call
    c.summary -- ElevenLabs' summary of the call
FROM (
    -- A year begins in March here, so that a leap day is the last of a year; each month's digits are the days before it.
    SELECT
        *,
        CAST(substr(call_start_time, 1, 4) AS INTEGER)
            - CASE WHEN substr(call_start_time, 6, 2) < '03' THEN 1 ELSE 0 END AS start_year,
        CAST(substr(call_end_time, 1, 4) AS INTEGER)
            - CASE WHEN substr(call_end_time, 6, 2) < '03' THEN 1 ELSE 0 END AS end_year,
        CAST(substr('306337000031061092122153184214245275', 3 * CAST(substr(call_start_time, 6, 2) AS INTEGER) - 2, 3)
            AS INTEGER) + CAST(substr(call_start_time, 9, 2) AS INTEGER) AS start_day,
        CAST(substr('306337000031061092122153184214245275', 3 * CAST(substr(call_end_time, 6, 2) AS INTEGER) - 2, 3)
            AS INTEGER) + CAST(substr(call_end_time, 9, 2) AS INTEGER) AS end_day,
        3600 * CAST(substr(call_start_time, 12, 2) AS INTEGER) + 60 * CAST(substr(call_start_time, 15, 2) AS INTEGER)
            + CAST(substr(call_start_time, 18, 9) AS DOUBLE) AS start_second,
        3600 * CAST(substr(call_end_time, 12, 2) AS INTEGER) + 60 * CAST(substr(call_end_time, 15, 2) AS INTEGER)
            + CAST(substr(call_end_time, 18, 9) AS DOUBLE) AS end_second
    FROM calls
) c
LEFT JOIN drivers d ON d.id = c.driver_id;

-- From here on the schema's text changes, which SQLite allows where no row is touched
-- (https://www.sqlite.org/lang_altertable.html#otheralter): rewriting the tables would take long on a large file. Each statement
-- replaces an exact piece, so that columns of other migrations stay as they are.
PRAGMA writable_schema = ON;

UPDATE sqlite_schema SET sql = replace(sql, '    name         TEXT NOT NULL CHECK (name <> ''''),
', '    name         TEXT NOT NULL CHECK (name <> ''''), -- as the page and the views show it
')
  WHERE type = 'table' AND name = 'drivers';
UPDATE sqlite_schema SET sql = replace(sql, '    created_at   TEXT NOT NULL CHECK (length(created_at) = 27),
', '    created_at   TEXT NOT NULL CHECK (length(created_at) = 27), -- when it was stored
')
  WHERE type = 'table' AND name = 'drivers';
UPDATE sqlite_schema SET sql = replace(sql, '    updated_at   TEXT NOT NULL CHECK (length(updated_at) = 27)
', '    updated_at   TEXT NOT NULL CHECK (length(updated_at) = 27) -- when it was last changed
')
  WHERE type = 'table' AND name = 'drivers';
UPDATE sqlite_schema SET sql = replace(sql, '-- the platform''s name for the call', '-- ElevenLabs'' name for the call')
  WHERE type = 'table' AND name = 'call_dispatches';
UPDATE sqlite_schema SET sql = replace(sql, '-- the platform''s batch of calls', '-- ElevenLabs'' batch of calls')
  WHERE type = 'table' AND name = 'call_dispatches';
UPDATE sqlite_schema SET sql = replace(sql, '    dispatched_at   TEXT NOT NULL CHECK (length(dispatched_at) = 27)
', '    dispatched_at   TEXT NOT NULL CHECK (length(dispatched_at) = 27) -- when the call was placed
')
  WHERE type = 'table' AND name = 'call_dispatches';
UPDATE sqlite_schema SET sql = replace(sql, '    id              INTEGER PRIMARY KEY AUTOINCREMENT,
', '    id              INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice
')
  WHERE type = 'table' AND name = 'calls';
UPDATE sqlite_schema SET sql = replace(sql, '-- the platform''s name for the call', '-- ElevenLabs'' name for the call')
  WHERE type = 'table' AND name = 'calls';
UPDATE sqlite_schema SET sql = replace(sql, '-- the first turn''s timestamp
', '-- the first turn''s timestamp until a record says when the call began
')
  WHERE type = 'table' AND name = 'calls';
UPDATE sqlite_schema SET sql = replace(sql, '    call_end_time   TEXT CHECK (length(call_end_time) = 27 AND call_end_time >= call_start_time),
', '    call_end_time   TEXT CHECK (length(call_end_time) = 27 AND call_end_time >= call_start_time), -- NULL while the call runs
')
  WHERE type = 'table' AND name = 'calls';
UPDATE sqlite_schema SET sql = replace(sql, '    status          TEXT NOT NULL DEFAULT ''in_progress'' CHECK (status IN (''in_progress'', ''completed'', ''failed'')),
', '    status          TEXT NOT NULL DEFAULT ''in_progress'' CHECK (status IN (''in_progress'', ''completed'', ''failed'')), -- whether the call runs, and how it ended
')
  WHERE type = 'table' AND name = 'calls';
UPDATE sqlite_schema SET sql = replace(sql, '    created_at      TEXT NOT NULL CHECK (length(created_at) = 27),
', '    created_at      TEXT NOT NULL CHECK (length(created_at) = 27), -- when it was stored
')
  WHERE type = 'table' AND name = 'calls';
UPDATE sqlite_schema SET sql = replace(sql, '    updated_at      TEXT NOT NULL CHECK (length(updated_at) = 27)
, duration_seconds INTEGER CHECK (duration_seconds >= 0), agent_id TEXT, direction TEXT CHECK (direction IN (''inbound'', ''outbound'')), termination_reason TEXT, outcome TEXT CHECK (outcome IN (''success'', ''failure'', ''unknown'')), summary TEXT, title TEXT, main_language TEXT, cost INTEGER, external_number TEXT, batch_id TEXT, analysis TEXT CHECK (json_valid(analysis)), driver_source TEXT -- how driver_id became known
    CHECK (driver_source IN', '    updated_at      TEXT NOT NULL CHECK (length(updated_at) = 27), -- when it last changed
    duration_seconds INTEGER CHECK (duration_seconds >= 0), -- as the record says
    agent_id TEXT, -- ElevenLabs'' agent
    direction TEXT CHECK (direction IN (''inbound'', ''outbound'')), -- seen from the agent: outbound if the agent called
    termination_reason TEXT, -- free words of ElevenLabs; ''inactivity'' where this service ended the call
    outcome TEXT CHECK (outcome IN (''success'', ''failure'', ''unknown'')), -- whether the agent reached the call''s goal
    summary TEXT, -- ElevenLabs'' summary
    title TEXT, -- ElevenLabs'' title
    main_language TEXT, -- the language that was spoken most, as ElevenLabs writes it
    cost INTEGER, -- in ElevenLabs'' credits
    external_number TEXT, -- the number at the other end
    batch_id TEXT, -- ElevenLabs'' batch of calls
    analysis TEXT CHECK (analysis IS NULL OR json_valid(analysis)), -- ElevenLabs'' analysis, JSON
    driver_source TEXT -- how driver_id became known
    CHECK (driver_source IN')
  WHERE type = 'table' AND name = 'calls';
UPDATE sqlite_schema SET sql = replace(sql, '''batch_recipient'', ''phone_number'')), driver_conflict TEXT, driver_claims TEXT CHECK (json_valid(driver_claims)), record_event_id INTEGER, live_only INTEGER, matched INTEGER, added INTEGER, corrected INTEGER, repeated INTEGER, user_id TEXT', '''batch_recipient'', ''phone_number'')),
    driver_conflict TEXT, -- what says another driver, in words
    driver_claims TEXT CHECK (driver_claims IS NULL OR json_valid(driver_claims)), -- what the records say about the driver, JSON
    record_event_id INTEGER, -- webhook_events.id of the record that knows most
    live_only INTEGER, -- turns that were heard and are not in the record; NULL, as the next four, without a record
    matched INTEGER, -- turns that were heard and are in the record
    added INTEGER, -- turns that are in the record and were not heard
    corrected INTEGER, -- matched turns that were heard with other words
    repeated INTEGER, -- turns that were heard once more than the record has them
    user_id TEXT -- ElevenLabs'' user id, in its words
')
  WHERE type = 'table' AND name = 'calls';
UPDATE sqlite_schema SET sql = replace(sql, '    conversation_id TEXT NOT NULL REFERENCES calls (conversation_id) ON DELETE CASCADE,
', '    conversation_id TEXT NOT NULL REFERENCES calls (conversation_id) ON DELETE CASCADE, -- its call
')
  WHERE type = 'table' AND name = 'call_transcriptions';
UPDATE sqlite_schema SET sql = replace(sql, '    speaker_type    TEXT NOT NULL CHECK (speaker_type IN (''agent'', ''driver'')),
', '    speaker_type    TEXT NOT NULL CHECK (speaker_type IN (''agent'', ''driver'')), -- who said it
')
  WHERE type = 'table' AND name = 'call_transcriptions';
UPDATE sqlite_schema SET sql = replace(sql, '    message_text    TEXT NOT NULL CHECK (message_text <> ''''),
', '    message_text    TEXT NOT NULL CHECK (message_text <> ''''), -- the words as they were received
')
  WHERE type = 'table' AND name = 'call_transcriptions';
UPDATE sqlite_schema SET sql = replace(sql, '    source          TEXT NOT NULL DEFAULT ''live'' CHECK (source IN (''live'', ''history'', ''post_call'', ''import'')),
', '    source          TEXT NOT NULL DEFAULT ''live'' CHECK (source IN (''live'', ''history'', ''post_call'', ''import'')), -- how it arrived
')
  WHERE type = 'table' AND name = 'call_transcriptions';
UPDATE sqlite_schema SET sql = replace(sql, ', -- calls.id * 2^32 + 32 bits of a digest of speaker, time and words: finds a repeat
', ',
')
  WHERE type = 'table' AND name = 'call_transcriptions';
UPDATE sqlite_schema SET sql = replace(sql, '    repeat_key      INTEGER NOT NULL, final_text TEXT, interrupted INTEGER CHECK (interrupted IN (0, 1)), place INTEGER, superseded_by INTEGER, record_index INTEGER', '    repeat_key      INTEGER NOT NULL, -- calls.id * 2^32 + 32 bits of a digest of speaker, time and words: finds a repeat
    final_text TEXT, -- the record''s words where they differ from message_text
    interrupted INTEGER CHECK (interrupted IN (0, 1)), -- 1 if the speaker was interrupted, as the record says
    place INTEGER, -- in the conversation''s true order, 1, 2, 3 …; NULL without a record
    superseded_by INTEGER, -- sequence_number of the turn that stands for this one; views leave this one out
    record_index INTEGER -- of a turn made for an entry of a record: the entry''s index
')
  WHERE type = 'table' AND name = 'call_transcriptions';
UPDATE sqlite_schema SET sql = replace(sql, ', uncompared INTEGER', ',
    uncompared INTEGER -- turns that were not compared with all of the record, since the call is too long; NULL without a record
')
  WHERE type = 'table' AND name = 'calls';
UPDATE sqlite_schema SET sql = replace(sql, '-- the sender''s Idempotency-Key or tool_call_id', '-- the sender''s Idempotency-Key')
  WHERE type = 'table' AND name = 'call_transcriptions';
UPDATE sqlite_schema SET sql = replace(sql, ', record_time TEXT, in_record INTEGER', ',
    record_time TEXT, -- when it was said by ElevenLabs'' record, where it has a time; goes before timestamp
    in_record INTEGER -- 1: ElevenLabs'' record after the call has this turn; 0: it was only heard; NULL without such a record
')
  WHERE type = 'table' AND name = 'call_transcriptions';
UPDATE sqlite_schema SET sql = replace(sql, '    id              INTEGER PRIMARY KEY AUTOINCREMENT,
', '    id              INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice
')
  WHERE type = 'table' AND name = 'webhook_events';
UPDATE sqlite_schema SET sql = replace(sql, '-- in the platform''s words; NULL', '-- in ElevenLabs'' words; NULL')
  WHERE type = 'table' AND name = 'webhook_events';
UPDATE sqlite_schema SET sql = replace(sql, '-- when the platform made it', '-- when ElevenLabs made it')
  WHERE type = 'table' AND name = 'webhook_events';
UPDATE sqlite_schema SET sql = replace(sql, '    received_at     TEXT NOT NULL CHECK (length(received_at) = 27),
', '    received_at     TEXT NOT NULL CHECK (length(received_at) = 27), -- when it was first received
')
  WHERE type = 'table' AND name = 'webhook_events';
UPDATE sqlite_schema SET sql = replace(sql, '    record          TEXT CHECK (json_valid(record)), -- what was read of it', '    record          TEXT CHECK (record IS NULL OR json_valid(record)), -- what was read of it, JSON')
  WHERE type = 'table' AND name = 'webhook_events';
UPDATE sqlite_schema SET sql = replace(sql, '    conversation_id TEXT PRIMARY KEY REFERENCES calls (conversation_id) ON DELETE CASCADE,
', '    conversation_id TEXT PRIMARY KEY REFERENCES calls (conversation_id) ON DELETE CASCADE, -- its call
')
  WHERE type = 'table' AND name = 'call_histories';
UPDATE sqlite_schema SET sql = replace(sql, '    agent_id        TEXT,
', '    agent_id        TEXT, -- ElevenLabs'' agent, as the tool says
')
  WHERE type = 'table' AND name = 'call_histories';
UPDATE sqlite_schema SET sql = replace(sql, '    entries         TEXT NOT NULL CHECK (json_valid(entries))
', '    entries         TEXT NOT NULL CHECK (json_valid(entries)) -- what the tool has shown, JSON by place in the history
')
  WHERE type = 'table' AND name = 'call_histories';
UPDATE sqlite_schema SET sql = replace(sql, '    erased_at TEXT NOT NULL CHECK (length(erased_at) = 27)
', '    erased_at TEXT NOT NULL CHECK (length(erased_at) = 27) -- when it was erased
')
  WHERE type = 'table' AND name = 'erased_calls';
UPDATE sqlite_schema SET sql = replace(sql, '    kind    TEXT NOT NULL CHECK (kind IN (''started'', ''updated'', ''ended'', ''erased'')),
', '    kind    TEXT NOT NULL CHECK (kind IN (''started'', ''updated'', ''ended'', ''erased'')), -- what happened
')
  WHERE type = 'table' AND name = 'call_changes';
UPDATE sqlite_schema SET sql = replace(sql, '    call_id           INTEGER PRIMARY KEY REFERENCES calls (id) ON DELETE CASCADE,
', '    call_id           INTEGER PRIMARY KEY REFERENCES calls (id) ON DELETE CASCADE, -- its call
')
  WHERE type = 'table' AND name = 'call_figures';
UPDATE sqlite_schema SET sql = replace(sql, '    agent_turns       INTEGER NOT NULL,
', '    agent_turns       INTEGER NOT NULL, -- turns of the agent
')
  WHERE type = 'table' AND name = 'call_figures';
UPDATE sqlite_schema SET sql = replace(sql, '    driver_turns      INTEGER NOT NULL,
', '    driver_turns      INTEGER NOT NULL, -- turns of the driver
')
  WHERE type = 'table' AND name = 'call_figures';
UPDATE sqlite_schema SET sql = replace(sql, '    agent_characters  INTEGER NOT NULL,
', '    agent_characters  INTEGER NOT NULL, -- characters that the agent said
')
  WHERE type = 'table' AND name = 'call_figures';
UPDATE sqlite_schema SET sql = replace(sql, '    driver_characters INTEGER NOT NULL,
', '    driver_characters INTEGER NOT NULL, -- characters that the driver said
')
  WHERE type = 'table' AND name = 'call_figures';
UPDATE sqlite_schema SET sql = replace(sql, '    agent_seconds     REAL NOT NULL,
', '    agent_seconds     REAL NOT NULL, -- estimate of how long the agent spoke
')
  WHERE type = 'table' AND name = 'call_figures';
UPDATE sqlite_schema SET sql = replace(sql, '    driver_seconds    REAL NOT NULL,
', '    driver_seconds    REAL NOT NULL, -- estimate of how long the driver spoke
')
  WHERE type = 'table' AND name = 'call_figures';
UPDATE sqlite_schema SET sql = replace(sql, '    silence_seconds   REAL NOT NULL
', '    silence_seconds   REAL NOT NULL -- estimate of how long nobody spoke
')
  WHERE type = 'table' AND name = 'call_figures';
UPDATE sqlite_schema SET sql = replace(sql, '    kind            TEXT NOT NULL CHECK (kind IN (''erase'', ''restore''))
', '    kind            TEXT NOT NULL CHECK (kind IN (''erase'', ''restore'')) -- what was begun
')
  WHERE type = 'table' AND name = 'unfinished_calls';
UPDATE sqlite_schema SET sql = replace(sql, '(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255))', '(
    version int4 PRIMARY KEY, -- number of a migration
    name VARCHAR(255), -- its name
    applied_on VARCHAR(255), -- when it ran
    checksum VARCHAR(255) -- digest of its text
)')
  WHERE type = 'table' AND name = 'refinery_schema_history';
UPDATE sqlite_schema SET sql = replace(sql, 'SELECT
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
    t.created_at', 'SELECT
    t.conversation_id, -- ElevenLabs'' name for the call
    t.sequence_number, -- 1, 2, 3 … in a call, in order of arrival
    t.place, -- in the conversation''s true order; NULL without a record
    t.timestamp, -- when it was said, by the sender
    t.speaker_type, -- agent or driver
    coalesce(t.final_text, t.message_text) AS message_text, -- the record''s words where there is a record
    t.message_text AS text_as_heard, -- the words as they were received
    t.interrupted, -- 1 if the speaker was interrupted, as the record says
    c.driver_id, -- the fleet''s number of the driver, NULL while unknown
    d.name AS driver_name, -- the driver''s name
    c.status AS call_status, -- in_progress, completed or failed
    c.call_start_time, -- when the call began
    t.source, -- how it arrived: live, history, post_call or import
    t.id AS transcription_id, -- the turn''s own number
    t.created_at /* when it was stored */')
  WHERE type = 'view' AND name = 'transcript';

PRAGMA writable_schema = RESET;
