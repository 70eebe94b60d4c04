-- Who called, as it was answered to ElevenLabs' question before the first word of an inbound call.

PRAGMA user_version = 20;

-- As in V14, the schema's text is changed, which touches no row.
PRAGMA writable_schema = ON;

UPDATE sqlite_schema SET sql = replace(sql, '''batch_recipient'', ''phone_number''))', '''batch_recipient'', ''initiation'', ''phone_number''))')
  WHERE type = 'table' AND name = 'calls';

PRAGMA writable_schema = RESET;

CREATE TABLE call_initiations (
    call_sid        TEXT NOT NULL PRIMARY KEY CHECK (length(call_sid) BETWEEN 1 AND 256), -- id of the call at the telephone provider
    conversation_id TEXT, -- ElevenLabs' name for the call, NULL until something says it; not a reference
    driver_id       INTEGER NOT NULL REFERENCES drivers (id) ON DELETE CASCADE, -- the driver whose number called
    initiated_at    TEXT NOT NULL CHECK (length(initiated_at) = 27) -- when ElevenLabs asked; erased after a month
) STRICT, WITHOUT ROWID;

CREATE INDEX call_initiations_conversation ON call_initiations (conversation_id) WHERE conversation_id IS NOT NULL;
CREATE INDEX call_initiations_driver ON call_initiations (driver_id);
CREATE INDEX call_initiations_at ON call_initiations (initiated_at);
