-- When the turns in the index of words were said and when their calls began, of 1,024 neighbours at a time, so that a search
-- within some days passes over all others. The rules stand in triggers, so that a span is never too narrow, whoever writes.

PRAGMA user_version = 8;

CREATE TABLE turn_search_spans (
    block        INTEGER PRIMARY KEY, -- call_transcriptions.id >> 10
    said_from    TEXT NOT NULL, -- no turn of these that is in the index was said before
    said_to      TEXT NOT NULL, -- or after
    started_from TEXT NOT NULL, -- none of their calls began before
    started_to   TEXT NOT NULL -- or after
) STRICT;

-- Turns up to this one may be in the index and in no span yet. It goes down to 0 behind the service's start.
ALTER TABLE turn_search_state ADD COLUMN unspanned_to INTEGER NOT NULL DEFAULT 0;
UPDATE turn_search_state SET unspanned_to = to_id;

CREATE TRIGGER turn_search_said_again AFTER UPDATE OF timestamp ON call_transcriptions
WHEN old.timestamp IS NOT new.timestamp
BEGIN
    UPDATE turn_search_spans SET said_from = min(said_from, new.timestamp), said_to = max(said_to, new.timestamp)
    WHERE block = new.id >> 10;
END;

CREATE TRIGGER turn_search_began_again AFTER UPDATE OF call_start_time ON calls
WHEN old.call_start_time IS NOT new.call_start_time
BEGIN
    UPDATE turn_search_spans
    SET started_from = min(started_from, new.call_start_time), started_to = max(started_to, new.call_start_time)
    WHERE block IN (SELECT id >> 10 FROM call_transcriptions WHERE conversation_id = new.conversation_id);
END;

-- Nothing is left of turns that are all erased.
CREATE TRIGGER turn_search_span_goes AFTER DELETE ON call_transcriptions
WHEN NOT EXISTS (SELECT 1 FROM call_transcriptions WHERE id BETWEEN old.id & ~1023 AND old.id | 1023)
BEGIN
    DELETE FROM turn_search_spans WHERE block = old.id >> 10;
END;
