-- Who read, heard, searched, exported or erased which call. It holds no words: not even the query of a search.

PRAGMA user_version = 21;

CREATE TABLE access_log (
    id              INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice, so that pages by it are stable
    at              TEXT NOT NULL CHECK (length(at) = 27), -- when
    user_name       TEXT, -- the name of the token, or of the user whom a proxy signed in; NULL for a token without one
    role            TEXT NOT NULL CHECK (role IN ('ingest', 'list', 'read', 'manage')), -- the role at that time
    credential      TEXT NOT NULL CHECK (credential IN ('token', 'session', 'proxy', 'none', 'file')), -- what proved it
    action          TEXT NOT NULL CHECK (action IN ('read', 'listen', 'search', 'export', 'backup', 'erase')), -- what was done
    conversation_id TEXT -- the call, which may have been erased since; NULL for an access to several calls
) STRICT;

CREATE INDEX access_log_call ON access_log (conversation_id) WHERE conversation_id IS NOT NULL;
CREATE INDEX access_log_user ON access_log (user_name) WHERE user_name IS NOT NULL;
