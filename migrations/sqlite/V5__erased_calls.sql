-- What was erased stays erased: the platform's records of a call, which would bring its words back, are not kept again.

PRAGMA user_version = 5;

CREATE TABLE erased_calls (
    digest    BLOB PRIMARY KEY CHECK (length(digest) = 32), -- SHA-256 of the conversation_id
    erased_at TEXT NOT NULL CHECK (length(erased_at) = 27)
) STRICT, WITHOUT ROWID;

-- Events that name no call, in whose bodies a call that is erased is looked for: few, out of many.
CREATE INDEX webhook_events_unattributed ON webhook_events (id) WHERE conversation_id IS NULL;
