-- What readers compute of what is understood: who said a turn, why a call ended, one meaning of its duration.

PRAGMA user_version = 16;

-- Each is read for every turn or call that is shown, and has few rows.
CREATE INDEX calls_by_machine ON calls (conversation_id) WHERE answered_by IN ('voicemail', 'fax');
CREATE INDEX tool_calls_end ON tool_calls (conversation_id, is_error) WHERE purpose = 'end_call';

DROP VIEW call_overview;
CREATE VIEW call_overview AS
SELECT
    c.conversation_id, -- ElevenLabs' name for the call
    c.status, -- in_progress, completed or failed
    c.driver_id, -- the fleet's number of the driver, NULL while unknown
    d.name AS driver_name, -- the driver's name
    c.call_start_time, -- when the call began
    c.call_end_time, -- when it ended, NULL while it runs
    CAST(coalesce(c.duration_seconds, round(
        86400.0 * (
            365 * (c.end_year - c.start_year)
            + (c.end_year - c.end_year % 4) / 4 - (c.start_year - c.start_year % 4) / 4
            - (c.end_year - c.end_year % 100) / 100 + (c.start_year - c.start_year % 100) / 100
            + (c.end_year - c.end_year % 400) / 400 - (c.start_year - c.start_year % 400) / 400
            + c.end_day - c.start_day
        ) + c.end_second - c.start_second)) AS BIGINT) AS duration_seconds, -- by ElevenLabs, else from start to end, rounded
    c.turn_count, -- number of stored turns, with those that others replace; agent_turns and driver_turns leave them out
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
        AND k.is_error = 1) AS INTEGER) AS tool_errors, -- calls of tools that failed
    CAST(CASE
        WHEN c.status = 'in_progress' THEN NULL
        WHEN c.reason = 'inactivity' THEN 'inactivity'
        WHEN c.reason = 'busy' OR (c.status = 'failed' AND c.answered_by = 'busy') THEN 'busy'
        WHEN c.reason IN ('no-answer', 'no_answer', 'no answer')
            OR (c.status = 'failed' AND c.answered_by = 'no_answer') THEN 'no_answer'
        WHEN c.reason LIKE '%remote party%' OR c.reason LIKE '%disconnected%' OR c.reason LIKE '%hung up%'
            OR c.reason LIKE '%ended by user%' OR c.reason LIKE '%user ended%' THEN 'hung_up'
        WHEN c.reason LIKE '%end_call%' OR c.reason LIKE '%voicemail_detection%' OR c.reason LIKE '%ended by agent%'
            OR c.reason LIKE '%agent ended%' THEN 'agent_ended'
        WHEN c.reason LIKE '%silence%' THEN 'silence'
        WHEN (SELECT count(k.position) FROM tool_calls k WHERE k.conversation_id = c.conversation_id
            AND k.purpose = 'end_call' AND (k.is_error IS NULL OR k.is_error = 0)) > 0 THEN 'agent_ended'
        WHEN c.status = 'failed' OR c.reason LIKE '%error%' OR c.reason LIKE '%fail%' THEN 'error'
        WHEN c.reason = '' THEN NULL
        ELSE 'other'
    END AS TEXT) AS end_reason, -- hung_up, agent_ended, silence, inactivity, busy, no_answer, error or other; NULL if unknown
    c.user_id, -- ElevenLabs' user id
    d.phone_number AS driver_phone_number, -- the driver's number
    c.cost, -- cost in ElevenLabs credits
    c.batch_id, -- ElevenLabs' id of the batch of calls
    c.answered_by_source, -- source of answered_by: call_result, tool, amd or initiation_failure
    c.answered_by_conflict, -- sources that name another answered_by
    c.branch_id, -- branch of the agent
    c.version_id, -- version of the agent
    c.agent_number, -- the number at the agent's end
    c.accepted_time, -- when the call was accepted, after ringing and queueing
    c.conversation_product, -- product of ElevenLabs, such as agents
    c.initiation_source, -- source of the conversation, in ElevenLabs' words, such as twilio
    c.live_only, -- live turns that the record lacks; NULL without a record
    c.matched, -- live turns that the record has
    c.added, -- turns that only the record has
    c.corrected, -- matched turns with different words in the record
    c.repeated -- live turns that repeat a matched turn
FROM (
    -- A year begins in March here, so that a leap day is the last of a year; each month's digits are the days before it.
    SELECT
        *,
        lower(trim(coalesce(termination_reason, ''))) AS reason,
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
    c.answered_by, -- who answered the call; if voicemail, the driver's words are the mailbox's
    CAST(CASE
        WHEN t.kind IN ('silence', 'context') THEN 'nobody'
        WHEN t.speaker_type = 'driver' AND c.answered_by IN ('voicemail', 'fax') THEN 'mailbox'
        ELSE t.speaker_type
    END AS TEXT) AS said_by -- agent, driver, mailbox or nobody
FROM call_transcriptions t
JOIN calls c ON c.conversation_id = t.conversation_id
LEFT JOIN drivers d ON d.id = c.driver_id
WHERE t.superseded_by IS NULL;

-- The same index as before, with the columns by which statistics group calls.
DROP INDEX calls_over;
CREATE INDEX calls_over ON calls (
    call_start_time, status, driver_id, call_end_time, duration_seconds, turn_count,
    live_only, matched, added, corrected, repeated, parent_conversation_id, initiation_source, environment,
    answered_by, outcome, channel, direction, agent_id, termination_reason = 'inactivity'
) WHERE status <> 'in_progress';

-- Results of ElevenLabs' analysis, from calls.analysis: at most 50 of each kind for a call.
CREATE TABLE call_results (
    call_id INTEGER NOT NULL REFERENCES calls (id) ON DELETE CASCADE, -- its call
    kind    TEXT NOT NULL CHECK (kind IN ('criterion', 'data')), -- criterion: an evaluation; data: a collected value
    name    TEXT NOT NULL, -- id of the criterion or value
    value   TEXT, -- success, failure or unknown; true, false or a short text; NULL if missing or a number
    number  REAL, -- the collected number; NULL if missing or no number
    PRIMARY KEY (call_id, kind, name)
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO call_results (call_id, kind, name, value)
SELECT c.id, 'criterion', e.key,
    iif(json_extract(e.value, '$.result') IN ('success', 'failure'), json_extract(e.value, '$.result'), 'unknown')
FROM calls c, json_each(c.analysis, '$.evaluation_criteria_results') e
WHERE c.analysis IS NOT NULL AND e.type = 'object' AND typeof(e.key) = 'text' AND length(e.key) BETWEEN 1 AND 128;

INSERT OR IGNORE INTO call_results (call_id, kind, name, value, number)
SELECT c.id, 'data', e.key,
    CASE json_type(e.value, '$.value')
        WHEN 'true' THEN 'true'
        WHEN 'false' THEN 'false'
        WHEN 'text' THEN substr(json_extract(e.value, '$.value'), 1, 64)
    END,
    CASE WHEN json_type(e.value, '$.value') IN ('integer', 'real')
        THEN CAST(json_extract(e.value, '$.value') AS REAL) END
FROM calls c, json_each(c.analysis, '$.data_collection_results') e
WHERE c.analysis IS NOT NULL AND e.type = 'object' AND typeof(e.key) = 'text' AND length(e.key) BETWEEN 1 AND 128;

CREATE TRIGGER call_analysed_first AFTER INSERT ON calls
WHEN new.analysis IS NOT NULL
BEGIN
    INSERT OR IGNORE INTO call_results (call_id, kind, name, value)
    SELECT new.id, 'criterion', key, result
    FROM (
        SELECT e.key,
            iif(json_extract(e.value, '$.result') IN ('success', 'failure'), json_extract(e.value, '$.result'),
                'unknown') AS result
        FROM json_each(new.analysis, '$.evaluation_criteria_results') e
        WHERE e.type = 'object' AND typeof(e.key) = 'text' AND length(e.key) BETWEEN 1 AND 128 LIMIT 50
    );
    INSERT OR IGNORE INTO call_results (call_id, kind, name, value, number)
    SELECT new.id, 'data', key, text, number
    FROM (
        SELECT e.key,
            CASE json_type(e.value, '$.value')
                WHEN 'true' THEN 'true'
                WHEN 'false' THEN 'false'
                WHEN 'text' THEN substr(json_extract(e.value, '$.value'), 1, 64)
            END AS text,
            CASE WHEN json_type(e.value, '$.value') IN ('integer', 'real')
                THEN CAST(json_extract(e.value, '$.value') AS REAL) END AS number
        FROM json_each(new.analysis, '$.data_collection_results') e
        WHERE e.type = 'object' AND typeof(e.key) = 'text' AND length(e.key) BETWEEN 1 AND 128 LIMIT 50
    );
END;

CREATE TRIGGER call_analysed AFTER UPDATE OF analysis ON calls
WHEN old.analysis IS NOT new.analysis
BEGIN
    DELETE FROM call_results WHERE call_id = new.id;
    INSERT OR IGNORE INTO call_results (call_id, kind, name, value)
    SELECT new.id, 'criterion', key, result
    FROM (
        SELECT e.key,
            iif(json_extract(e.value, '$.result') IN ('success', 'failure'), json_extract(e.value, '$.result'),
                'unknown') AS result
        FROM json_each(new.analysis, '$.evaluation_criteria_results') e
        WHERE e.type = 'object' AND typeof(e.key) = 'text' AND length(e.key) BETWEEN 1 AND 128 LIMIT 50
    );
    INSERT OR IGNORE INTO call_results (call_id, kind, name, value, number)
    SELECT new.id, 'data', key, text, number
    FROM (
        SELECT e.key,
            CASE json_type(e.value, '$.value')
                WHEN 'true' THEN 'true'
                WHEN 'false' THEN 'false'
                WHEN 'text' THEN substr(json_extract(e.value, '$.value'), 1, 64)
            END AS text,
            CASE WHEN json_type(e.value, '$.value') IN ('integer', 'real')
                THEN CAST(json_extract(e.value, '$.value') AS REAL) END AS number
        FROM json_each(new.analysis, '$.data_collection_results') e
        WHERE e.type = 'object' AND typeof(e.key) = 'text' AND length(e.key) BETWEEN 1 AND 128 LIMIT 50
    );
END;

-- ElevenLabs' measurements of an ended call's turns, at most 20 names. Computed and deleted with call_figures.
CREATE TABLE call_metrics (
    call_id      INTEGER PRIMARY KEY REFERENCES calls (id) ON DELETE CASCADE, -- its call
    milliseconds TEXT NOT NULL -- by name, such as convai_llm_service_ttfb:250,310;convai_tts_service_ttfb:90
) STRICT;
