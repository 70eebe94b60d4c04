-- Lists of calls in the access log, and indexes for what is deleted after its time.

PRAGMA user_version = 22;

-- As in V14, the schema's text is changed, which touches no row.
PRAGMA writable_schema = ON;

UPDATE sqlite_schema SET sql = replace(sql, '''read'', ''listen''', '''list'', ''read'', ''listen''')
  WHERE type = 'table' AND name = 'access_log';

PRAGMA writable_schema = RESET;

-- The order of ids is not that of the times if the clock was set.
CREATE INDEX access_log_at ON access_log (at);
-- Those of which nothing has come yet are limited for each driver.
CREATE INDEX call_initiations_unlinked ON call_initiations (driver_id, initiated_at) WHERE conversation_id IS NULL;
