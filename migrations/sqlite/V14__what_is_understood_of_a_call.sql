-- Facts that ElevenLabs' events have about a call, which earlier versions did not read: who answered, the kind of
-- conversation, the kinds of turns, the calls of tools.
--
-- ALTER TABLE ADD COLUMN reads every row of a STRICT table, so the columns are added to the schema's text, which touches
-- no row (https://www.sqlite.org/lang_altertable.html#otheralter). Rows that were stored before have the defaults.

PRAGMA user_version = 14;

PRAGMA writable_schema = ON;

UPDATE sqlite_schema SET sql = replace(sql, ',
    uncompared INTEGER -- turns that were not compared with all of the record, since the call is too long; NULL without a record
)', ',
    uncompared INTEGER, -- turns that were not compared with all of the record, since the call is too long; NULL without a record
    answered_by TEXT, -- human, voicemail, fax, busy, no_answer, failed or unknown; NULL without any information
    answered_by_source TEXT, -- source of answered_by: call_result, tool, amd or initiation_failure
    answered_by_conflict TEXT, -- sources that name another answered_by, such as `amd: voicemail`
    channel TEXT, -- phone, web, sms, whatsapp, text or unknown; NULL without a record
    parent_conversation_id TEXT, -- conversation that started this one as a sub-agent; not a reference
    environment TEXT, -- environment of the agent, such as production
    branch_id TEXT, -- branch of the agent
    version_id TEXT, -- version of the agent
    call_sid TEXT, -- id of the call at the telephone provider
    agent_number TEXT, -- the number at the agent''s end
    agent_name TEXT, -- name of the agent
    cost_usd REAL, -- cost in US dollars
    queue_wait_seconds REAL, -- time in the queue before the talk; not part of the duration
    accepted_time TEXT, -- when the call was accepted, after ringing and queueing
    campaign TEXT, -- campaign of the batch of calls
    tags TEXT, -- ids of tags, a JSON array of strings
    conversation_product TEXT, -- product of ElevenLabs, such as agents
    sentiment TEXT, -- ElevenLabs'' sentiment of the call
    record_complete INTEGER, -- 1 if the transcript has as many turns as ElevenLabs counted, 0 if it has fewer; NULL if unknown
    initiation_source TEXT -- source of the conversation, in ElevenLabs'' words, such as twilio
)')
  WHERE type = 'table' AND name = 'calls';

UPDATE sqlite_schema SET sql = replace(sql, ' NULL without such a record
,
    UNIQUE (conversation_id, sequence_number)', ' NULL without such a record
,
    kind TEXT NOT NULL DEFAULT ''speech'', -- speech, silence, backchannel, keypad, text or context
    metrics TEXT -- ElevenLabs'' measurements of the turn, in seconds by name, JSON
,
    UNIQUE (conversation_id, sequence_number)')
  WHERE type = 'table' AND name = 'call_transcriptions';

UPDATE sqlite_schema SET sql = replace(sql, ' facts are written again
)', ' facts are written again
,
    quiet   INTEGER NOT NULL DEFAULT 0 CHECK (quiet IN (0, 1)) -- 1 if stored events were only parsed again, which live streams do not show
)')
  WHERE type = 'table' AND name = 'due_reconciliations';

PRAGMA writable_schema = RESET;

CREATE INDEX calls_answered_start ON calls (answered_by, call_start_time) WHERE answered_by IS NOT NULL;
CREATE INDEX calls_channel_start ON calls (channel, call_start_time) WHERE channel IS NOT NULL;
CREATE INDEX calls_parent ON calls (parent_conversation_id) WHERE parent_conversation_id IS NOT NULL;

-- Calls of tools and triggered guardrails, in the order of the record.
CREATE TABLE tool_calls (
    conversation_id TEXT NOT NULL REFERENCES calls (conversation_id) ON DELETE CASCADE, -- its call
    position        INTEGER NOT NULL CHECK (position >= 1), -- 1, 2, 3 … in a call
    after_place     INTEGER NOT NULL CHECK (after_place >= 0), -- place of the turn before it; 0 if it is before all turns
    request_id      TEXT, -- ElevenLabs' id, which may be repeated or empty
    name            TEXT NOT NULL, -- name of the tool or guardrail
    type            TEXT, -- type of the tool, such as webhook, client, mcp or system
    purpose         TEXT NOT NULL, -- tool, end_call, transfer_to_number, transfer_to_agent, voicemail_detection or guardrail
    arguments       TEXT, -- arguments, mostly JSON
    result          TEXT, -- result, mostly JSON
    is_error        INTEGER CHECK (is_error IN (0, 1)), -- 1 if the tool failed; NULL without a result
    latency_ms      INTEGER CHECK (latency_ms >= 0), -- duration of the tool's request, in milliseconds
    at              TEXT CHECK (length(at) = 27), -- when it was called, by the record
    PRIMARY KEY (conversation_id, position)
) STRICT;

CREATE INDEX tool_calls_name ON tool_calls (name, conversation_id);
CREATE INDEX tool_calls_error ON tool_calls (conversation_id) WHERE is_error = 1;

-- Tags of calls, from calls.tags, for finding the calls of a tag.
CREATE TABLE call_tags (
    call_id INTEGER NOT NULL REFERENCES calls (id) ON DELETE CASCADE, -- its call
    tag     TEXT NOT NULL, -- id of a tag
    PRIMARY KEY (tag, call_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX call_tags_call ON call_tags (call_id);

CREATE TRIGGER call_tagged_first AFTER INSERT ON calls
WHEN new.tags IS NOT NULL
BEGIN
    INSERT OR IGNORE INTO call_tags (call_id, tag) SELECT new.id, value FROM json_each(new.tags) WHERE type = 'text';
END;

CREATE TRIGGER call_tagged AFTER UPDATE OF tags ON calls
WHEN old.tags IS NOT new.tags
BEGIN
    DELETE FROM call_tags WHERE call_id = new.id;
    INSERT OR IGNORE INTO call_tags (call_id, tag) SELECT new.id, value FROM json_each(ifnull(new.tags, '[]')) WHERE type = 'text';
END;

-- Events whose stored record is from an older version of the reader. They are parsed again in the background, newest
-- first. A row is deleted in the transaction that stores the new record. A later version of the reader only needs the
-- INSERT below in its migration, with OR IGNORE, because rows may be left. `+id` reads an index instead of all bodies.
CREATE TABLE event_rereads (
    event_id INTEGER PRIMARY KEY REFERENCES webhook_events (id) ON DELETE CASCADE -- the event
) STRICT;

INSERT INTO event_rereads (event_id) SELECT id FROM webhook_events ORDER BY +id;

-- The same trigger as before, with the new columns.
DROP TRIGGER call_changed;
CREATE TRIGGER call_changed AFTER UPDATE OF
    driver_id, call_start_time, call_end_time, status, driver_source, driver_conflict, duration_seconds, agent_id,
    user_id, direction, termination_reason, outcome, title, summary, main_language, cost, external_number, batch_id,
    analysis, live_only, matched, added, corrected, repeated, answered_by, answered_by_source, answered_by_conflict,
    channel, parent_conversation_id, environment, branch_id, version_id, call_sid, agent_number, agent_name, cost_usd,
    queue_wait_seconds, accepted_time, campaign, tags, conversation_product, sentiment, record_complete,
    initiation_source ON calls
WHEN (old.driver_id, old.call_start_time, old.call_end_time, old.status, old.driver_source, old.driver_conflict,
      old.duration_seconds, old.agent_id, old.user_id, old.direction, old.termination_reason, old.outcome, old.title,
      old.summary, old.main_language, old.cost, old.external_number, old.batch_id, old.analysis, old.answered_by,
      old.answered_by_source, old.answered_by_conflict, old.channel, old.parent_conversation_id, old.environment,
      old.branch_id, old.version_id, old.call_sid, old.agent_number, old.agent_name, old.cost_usd,
      old.queue_wait_seconds, old.accepted_time, old.campaign, old.tags, old.conversation_product, old.sentiment,
      old.record_complete, old.initiation_source)
  IS NOT
     (new.driver_id, new.call_start_time, new.call_end_time, new.status, new.driver_source, new.driver_conflict,
      new.duration_seconds, new.agent_id, new.user_id, new.direction, new.termination_reason, new.outcome, new.title,
      new.summary, new.main_language, new.cost, new.external_number, new.batch_id, new.analysis, new.answered_by,
      new.answered_by_source, new.answered_by_conflict, new.channel, new.parent_conversation_id, new.environment,
      new.branch_id, new.version_id, new.call_sid, new.agent_number, new.agent_name, new.cost_usd,
      new.queue_wait_seconds, new.accepted_time, new.campaign, new.tags, new.conversation_product, new.sentiment,
      new.record_complete, new.initiation_source)
  OR (new.status <> 'in_progress'
      AND (old.live_only, old.matched, old.added, old.corrected, old.repeated)
   IS NOT (new.live_only, new.matched, new.added, new.corrected, new.repeated))
BEGIN
    INSERT INTO call_changes (call_id, kind, turn_id)
    SELECT new.id, iif(old.status = 'in_progress' AND new.status <> 'in_progress', 'ended', 'updated'),
        ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'call_transcriptions'), 0);
END;

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
    c.summary, -- ElevenLabs' summary of the call
    c.answered_by, -- human, voicemail, fax, busy, no_answer, failed or unknown; NULL without any information
    c.channel, -- phone, web, sms, whatsapp, text or unknown; NULL without a record
    c.direction, -- inbound or outbound
    c.agent_id, -- ElevenLabs' agent
    c.agent_name, -- name of the agent
    c.external_number, -- the number at the other end
    c.main_language, -- the language that was spoken most, as ElevenLabs writes it
    c.environment, -- environment of the agent, such as production
    c.parent_conversation_id, -- conversation that started this one as a sub-agent
    c.campaign, -- campaign of the batch of calls
    c.tags, -- ids of tags, a JSON array of strings
    c.cost_usd, -- cost in US dollars
    c.queue_wait_seconds, -- time in the queue before the talk
    c.sentiment, -- ElevenLabs' sentiment of the call
    c.record_complete, -- 1 if the transcript has as many turns as ElevenLabs counted, 0 if it has fewer
    CAST((SELECT count(k.position) FROM tool_calls k WHERE k.conversation_id = c.conversation_id) AS INTEGER) AS tool_calls, -- calls of tools
    CAST((SELECT count(k.position) FROM tool_calls k WHERE k.conversation_id = c.conversation_id
        AND k.is_error = 1) AS INTEGER) AS tool_errors -- calls of tools that failed
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

DROP VIEW transcript;
CREATE VIEW transcript AS
SELECT
    t.conversation_id, -- ElevenLabs' name for the call
    t.sequence_number, -- 1, 2, 3 … in a call, in order of arrival
    t.place, -- in the conversation's true order; NULL without a record
    t.timestamp, -- when it was said, by the sender
    t.speaker_type, -- agent or driver
    coalesce(t.final_text, t.message_text) AS message_text, -- the record's words where there is a record
    t.message_text AS text_as_heard, -- the words as they were received
    t.interrupted, -- 1 if the speaker was interrupted, as the record says
    c.driver_id, -- the fleet's number of the driver, NULL while unknown
    d.name AS driver_name, -- the driver's name
    c.status AS call_status, -- in_progress, completed or failed
    c.call_start_time, -- when the call began
    t.source, -- how it arrived: live, history, post_call or import
    t.id AS transcription_id, -- the turn's own number
    t.created_at, -- when it was stored
    t.in_record, -- 1: ElevenLabs' record after the call has this turn; 0: it was only heard; NULL without such a record
    t.record_time, -- when it was said by ElevenLabs' record, where it has a time
    coalesce(t.record_time, t.timestamp) AS said_at, -- record_time, or timestamp without one
    t.kind, -- speech, silence, backchannel, keypad, text or context; silence and context are nobody's words
    t.metrics, -- ElevenLabs' measurements of the turn, in seconds by name, JSON
    c.answered_by -- who answered the call; if voicemail, the driver's words are the mailbox's
FROM call_transcriptions t
JOIN calls c ON c.conversation_id = t.conversation_id
LEFT JOIN drivers d ON d.id = c.driver_id
WHERE t.superseded_by IS NULL;
