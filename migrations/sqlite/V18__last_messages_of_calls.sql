-- The last message of each call, for lists. It is searched for calls that were stored before, until their next turn.

PRAGMA user_version = 18;

-- As in V14, the schema's text is changed, which touches no row.
PRAGMA writable_schema = ON;

UPDATE sqlite_schema SET sql = replace(sql, 'tool_error INTEGER NOT NULL DEFAULT 0 -- 1 if a tool failed in the call
)', 'tool_error INTEGER NOT NULL DEFAULT 0, -- 1 if a tool failed in the call
    last_message_id INTEGER -- call_transcriptions.id of the message that was spoken or typed last; NULL if unknown
)')
  WHERE type = 'table' AND name = 'calls';

PRAGMA writable_schema = RESET;
