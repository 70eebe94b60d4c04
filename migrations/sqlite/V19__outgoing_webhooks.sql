-- Outgoing webhooks: what receivers are notified of, how far each receiver is, and which deliveries are tried again.
-- Alerts: which calls matched which of them.

PRAGMA user_version = 19;

-- The configured endpoints. Without one, nothing is stored in the tables below.
CREATE TABLE outgoing_endpoints (
    id              TEXT PRIMARY KEY CHECK (length(id) = 16), -- first hexadecimal digits of the SHA-256 of its URL
    position        INTEGER NOT NULL, -- events up to this id were delivered, or are listed in outgoing_deliveries
    dropped         INTEGER NOT NULL DEFAULT 0, -- events that were deleted before they were tried, because too many waited
    switched_off_at TEXT CHECK (length(switched_off_at) = 27) -- when the receiver answered 410; NULL if it is on
) STRICT, WITHOUT ROWID;

-- Events that not every endpoint has received.
CREATE TABLE outgoing_events (
    id              INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice; greater for later commits
    type            TEXT NOT NULL, -- type of the event, such as call.ended
    conversation_id TEXT NOT NULL, -- its call; not a reference, since the event of an erased call stays
    alert           TEXT, -- name of the alert of alert.matched
    at              TEXT NOT NULL DEFAULT '' -- when it happened; empty only within a transaction
) STRICT;

CREATE INDEX outgoing_events_call ON outgoing_events (conversation_id);

-- Deliveries that failed at least once, or wait for an earlier one of the same call.
CREATE TABLE outgoing_deliveries (
    endpoint        TEXT NOT NULL REFERENCES outgoing_endpoints (id) ON DELETE CASCADE, -- its endpoint
    event_id        INTEGER NOT NULL REFERENCES outgoing_events (id) ON DELETE CASCADE, -- its event
    conversation_id TEXT NOT NULL, -- the call of the event
    state           TEXT NOT NULL CHECK (state IN ('waiting', 'blocked', 'failed')), -- waiting for next_try, blocked by an earlier delivery of its call, or given up
    tries           INTEGER NOT NULL DEFAULT 0, -- number of requests so far
    next_try        TEXT NOT NULL DEFAULT '', -- earliest time of the next request; empty if it is due
    last_try        TEXT CHECK (length(last_try) = 27), -- when it was tried last
    last_status     INTEGER, -- status of the last answer; NULL if there was none
    PRIMARY KEY (endpoint, event_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX outgoing_deliveries_event ON outgoing_deliveries (event_id);
CREATE INDEX outgoing_deliveries_due ON outgoing_deliveries (endpoint, state, next_try);
CREATE INDEX outgoing_deliveries_call ON outgoing_deliveries (endpoint, conversation_id);

-- What was not delivered about an erased call no longer matters.
CREATE TRIGGER outgoing_erased AFTER DELETE ON calls
WHEN EXISTS (SELECT 1 FROM outgoing_endpoints)
BEGIN
    DELETE FROM outgoing_events WHERE conversation_id = old.conversation_id;
    INSERT INTO outgoing_events (type, conversation_id) VALUES ('call.erased', old.conversation_id);
END;

CREATE TRIGGER outgoing_recording AFTER UPDATE OF has_audio ON calls
WHEN new.has_audio = 1 AND old.has_audio = 0 AND EXISTS (SELECT 1 FROM outgoing_endpoints)
BEGIN
    INSERT INTO outgoing_events (type, conversation_id) VALUES ('recording.stored', new.conversation_id);
END;

-- Alerts that matched a turn, each once a call.
CREATE TABLE call_alerts (
    conversation_id  TEXT NOT NULL REFERENCES calls (conversation_id) ON DELETE CASCADE, -- its call
    name             TEXT NOT NULL, -- name of the alert
    transcription_id INTEGER NOT NULL, -- the first turn that matched
    at               TEXT NOT NULL CHECK (length(at) = 27), -- when it was found
    PRIMARY KEY (conversation_id, name)
) STRICT, WITHOUT ROWID;

-- How far turns were compared with the alerts; empty without alerts.
CREATE TABLE alert_progress (
    id      INTEGER PRIMARY KEY CHECK (id = 1), -- always 1
    turn_id INTEGER NOT NULL -- turns up to this id were compared
) STRICT;

-- A kind of change more. The columns stay, so no row is read.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, '''ended'', ''erased'')', '''ended'', ''erased'', ''alert'')')
  WHERE type = 'table' AND name = 'call_changes';
PRAGMA writable_schema = RESET;
