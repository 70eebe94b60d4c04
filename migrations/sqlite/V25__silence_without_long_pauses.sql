-- A pause of more than five minutes is no silence any more. Statistics that are stored are computed again, as the program does
-- it now, where they can have such a pause.

PRAGMA user_version = 25;

UPDATE call_figures SET silence_seconds = (
    SELECT round(ifnull(sum(iif(gap - characters / 15.0 > 300.0, 0.0, max(gap - characters / 15.0, 0.0))), 0.0), 3)
    FROM (
        SELECT characters, max((julianday(lead(said_at) OVER said) - julianday(said_at)) * 86400.0, 0.0) AS gap
        FROM (
            SELECT length(coalesce(t.final_text, t.message_text)) AS characters, t.place, t.timestamp, t.sequence_number,
                iif(c.record_event_id IS NULL AND julianday(c.last_turn_time) - julianday(c.first_turn_time) > 1,
                    t.created_at,
                    min(max(coalesce(t.record_time, t.timestamp), c.call_start_time),
                        iif(c.status = 'in_progress', '~', ifnull(c.call_end_time, '~')))) AS said_at
            FROM calls c JOIN call_transcriptions t ON t.conversation_id = c.conversation_id
            WHERE c.id = call_figures.call_id AND t.superseded_by IS NULL AND t.kind IN ('speech', 'text'))
        WINDOW said AS (ORDER BY ifnull(place, 9223372036854775807), timestamp, sequence_number)))
WHERE silence_seconds > 300;
