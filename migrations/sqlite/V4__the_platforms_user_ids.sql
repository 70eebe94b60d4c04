-- The platform's user id, as it has it, of which a driver's number is only one form.

PRAGMA user_version = 4;

ALTER TABLE calls ADD COLUMN user_id TEXT; -- the platform's user id, in its words

UPDATE calls SET user_id = (
    SELECT CAST(coalesce(
        e.body ->> '$.data.user_id',
        e.body ->> '$.data.conversation_initiation_client_data.user_id'
    ) AS TEXT)
    FROM webhook_events e
    WHERE e.id = calls.record_event_id AND typeof(e.body) = 'text' AND json_valid(e.body)
) WHERE record_event_id IS NOT NULL;

CREATE INDEX calls_user_start ON calls (user_id, call_start_time) WHERE user_id IS NOT NULL;
