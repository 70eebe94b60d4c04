-- Indexes for the filters of calls. Each makes the first page of a list quick, also for rare and absent values. None
-- contains a column that a turn changes.

PRAGMA user_version = 15;

-- As in V14, the schema's text is changed, which touches no row.
PRAGMA writable_schema = ON;

UPDATE sqlite_schema SET sql = replace(sql, ', such as twilio
)', ', such as twilio
    has_audio INTEGER NOT NULL DEFAULT 0, -- 1 if a recording is stored beside the database
    tool_error INTEGER NOT NULL DEFAULT 0 -- 1 if a tool failed in the call
)')
  WHERE type = 'table' AND name = 'calls';

UPDATE sqlite_schema SET sql = replace(sql, 'initiation_source TEXT --', 'initiation_source TEXT, --')
  WHERE type = 'table' AND name = 'calls';

PRAGMA writable_schema = RESET;

DROP INDEX calls_answered_start;
DROP INDEX calls_channel_start;

-- All facets: columns with few values each. A list reads this index once for each stored combination of facets that it
-- accepts, and merges them by start.
CREATE INDEX calls_facets ON calls (
    status, answered_by, outcome, direction, channel, agent_id, main_language, environment, has_audio, tool_error,
    driver_id IS NOT NULL, matched IS NOT NULL,
    parent_conversation_id IS NOT NULL OR ifnull(initiation_source, '') = 'subagent_tool', call_start_time
);

-- The combinations of facets that calls have or had.
CREATE TABLE call_facets (
    id            INTEGER PRIMARY KEY, -- number of the combination
    status        TEXT NOT NULL, -- as in calls
    answered_by   TEXT, -- as in calls
    outcome       TEXT, -- as in calls
    direction     TEXT, -- as in calls
    channel       TEXT, -- as in calls
    agent_id      TEXT, -- as in calls
    main_language TEXT, -- as in calls
    environment   TEXT, -- as in calls
    has_audio     INTEGER NOT NULL, -- as in calls
    tool_error    INTEGER NOT NULL, -- as in calls
    has_driver    INTEGER NOT NULL, -- 1 if the driver is known
    reconciled    INTEGER NOT NULL, -- 1 if the call was reconciled with a record
    is_child      INTEGER NOT NULL, -- 1 if a sub-agent held the conversation for another one
    first_start   TEXT NOT NULL, -- no call with this combination started earlier
    last_start    TEXT NOT NULL -- no call with this combination started later
) STRICT;

INSERT INTO call_facets (status, answered_by, outcome, direction, channel, agent_id, main_language, environment,
    has_audio, tool_error, has_driver, reconciled, is_child, first_start, last_start)
SELECT status, answered_by, outcome, direction, channel, agent_id, main_language, environment, has_audio, tool_error,
    driver_id IS NOT NULL, matched IS NOT NULL,
    parent_conversation_id IS NOT NULL OR ifnull(initiation_source, '') = 'subagent_tool',
    min(call_start_time), max(call_start_time)
FROM calls INDEXED BY calls_facets GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13;

CREATE INDEX call_facets_all ON call_facets (status, answered_by, outcome, direction, channel, agent_id, main_language,
    environment, has_audio, tool_error, has_driver, reconciled, is_child);

CREATE TRIGGER call_facets_first AFTER INSERT ON calls
BEGIN
    UPDATE call_facets
    SET first_start = min(first_start, new.call_start_time), last_start = max(last_start, new.call_start_time)
    WHERE call_facets.status = new.status AND call_facets.answered_by IS new.answered_by
        AND call_facets.outcome IS new.outcome AND call_facets.direction IS new.direction
        AND call_facets.channel IS new.channel
        AND call_facets.agent_id IS new.agent_id AND call_facets.main_language IS new.main_language
        AND call_facets.environment IS new.environment AND call_facets.has_audio = new.has_audio
        AND call_facets.tool_error = new.tool_error
        AND call_facets.has_driver = (new.driver_id IS NOT NULL) AND call_facets.reconciled = (new.matched IS NOT NULL)
        AND call_facets.is_child = (new.parent_conversation_id IS NOT NULL
            OR ifnull(new.initiation_source, '') = 'subagent_tool')
        AND new.call_start_time NOT BETWEEN first_start AND last_start;
    INSERT INTO call_facets (status, answered_by, outcome, direction, channel, agent_id, main_language, environment,
        has_audio, tool_error, has_driver, reconciled, is_child, first_start, last_start)
    SELECT new.status, new.answered_by, new.outcome, new.direction, new.channel, new.agent_id, new.main_language,
        new.environment, new.has_audio, new.tool_error, new.driver_id IS NOT NULL, new.matched IS NOT NULL,
        new.parent_conversation_id IS NOT NULL OR ifnull(new.initiation_source, '') = 'subagent_tool',
        new.call_start_time, new.call_start_time
    WHERE NOT EXISTS (SELECT 1 FROM call_facets f WHERE f.status = new.status AND f.answered_by IS new.answered_by
        AND f.outcome IS new.outcome AND f.direction IS new.direction AND f.channel IS new.channel
        AND f.agent_id IS new.agent_id AND f.main_language IS new.main_language
        AND f.environment IS new.environment AND f.has_audio = new.has_audio AND f.tool_error = new.tool_error
        AND f.has_driver = (new.driver_id IS NOT NULL) AND f.reconciled = (new.matched IS NOT NULL)
        AND f.is_child = (new.parent_conversation_id IS NOT NULL
            OR ifnull(new.initiation_source, '') = 'subagent_tool'));
END;

CREATE TRIGGER call_facets_changed AFTER UPDATE OF status, answered_by, outcome, direction, channel, agent_id,
    main_language, environment, has_audio, tool_error, driver_id, matched, parent_conversation_id, initiation_source,
    call_start_time ON calls
BEGIN
    UPDATE call_facets
    SET first_start = min(first_start, new.call_start_time), last_start = max(last_start, new.call_start_time)
    WHERE call_facets.status = new.status AND call_facets.answered_by IS new.answered_by
        AND call_facets.outcome IS new.outcome AND call_facets.direction IS new.direction
        AND call_facets.channel IS new.channel
        AND call_facets.agent_id IS new.agent_id AND call_facets.main_language IS new.main_language
        AND call_facets.environment IS new.environment AND call_facets.has_audio = new.has_audio
        AND call_facets.tool_error = new.tool_error
        AND call_facets.has_driver = (new.driver_id IS NOT NULL) AND call_facets.reconciled = (new.matched IS NOT NULL)
        AND call_facets.is_child = (new.parent_conversation_id IS NOT NULL
            OR ifnull(new.initiation_source, '') = 'subagent_tool')
        AND new.call_start_time NOT BETWEEN first_start AND last_start;
    INSERT INTO call_facets (status, answered_by, outcome, direction, channel, agent_id, main_language, environment,
        has_audio, tool_error, has_driver, reconciled, is_child, first_start, last_start)
    SELECT new.status, new.answered_by, new.outcome, new.direction, new.channel, new.agent_id, new.main_language,
        new.environment, new.has_audio, new.tool_error, new.driver_id IS NOT NULL, new.matched IS NOT NULL,
        new.parent_conversation_id IS NOT NULL OR ifnull(new.initiation_source, '') = 'subagent_tool',
        new.call_start_time, new.call_start_time
    WHERE NOT EXISTS (SELECT 1 FROM call_facets f WHERE f.status = new.status AND f.answered_by IS new.answered_by
        AND f.outcome IS new.outcome AND f.direction IS new.direction AND f.channel IS new.channel
        AND f.agent_id IS new.agent_id AND f.main_language IS new.main_language
        AND f.environment IS new.environment AND f.has_audio = new.has_audio AND f.tool_error = new.tool_error
        AND f.has_driver = (new.driver_id IS NOT NULL) AND f.reconciled = (new.matched IS NOT NULL)
        AND f.is_child = (new.parent_conversation_id IS NOT NULL
            OR ifnull(new.initiation_source, '') = 'subagent_tool'));
END;

-- The calls of a driver, with everything by which a page of them is filtered.
DROP INDEX calls_driver_start;
CREATE INDEX calls_driver_start ON calls (
    driver_id, call_start_time, id, status, answered_by, outcome, direction, channel, agent_id, main_language,
    environment, has_audio, tool_error, matched, parent_conversation_id, initiation_source
);

-- The calls by the last four digits of the other end's number.
CREATE INDEX calls_number ON calls (
    substr(replace(replace(replace(replace(replace(replace(external_number, ' ', ''), '-', ''), '(', ''), ')', ''),
        '.', ''), '+', ''), -4),
    call_start_time, id, external_number, status, parent_conversation_id, initiation_source
) WHERE external_number IS NOT NULL;

-- The calls by duration. Those of ten minutes and more are one group, which is filtered by the columns that follow.
CREATE INDEX calls_seconds ON calls (
    status, min(coalesce(duration_seconds, strftime('%s', call_end_time) - strftime('%s', call_start_time)), 600),
    call_start_time, id, duration_seconds, call_end_time, parent_conversation_id, initiation_source
);

-- The same index as before, with the columns by which statistics leave out calls.
DROP INDEX calls_over;
CREATE INDEX calls_over ON calls (
    call_start_time, status, driver_id, call_end_time, duration_seconds, turn_count,
    live_only, matched, added, corrected, repeated, parent_conversation_id, initiation_source, environment
) WHERE status <> 'in_progress';

-- Tags of calls and names of called tools, in the order of lists. Status and start are those of the call.
DROP TRIGGER call_tagged_first;
DROP TRIGGER call_tagged;
ALTER TABLE call_tags RENAME TO former_call_tags;
DROP INDEX call_tags_call;

CREATE TABLE call_tags (
    tag             TEXT NOT NULL, -- id of a tag
    status          TEXT NOT NULL, -- as in calls
    is_child        INTEGER NOT NULL, -- 1 if a sub-agent held the conversation for another one
    call_start_time TEXT NOT NULL, -- as in calls
    call_id         INTEGER NOT NULL REFERENCES calls (id) ON DELETE CASCADE, -- its call
    PRIMARY KEY (tag, status, is_child, call_start_time, call_id)
) STRICT, WITHOUT ROWID;

INSERT INTO call_tags (tag, status, is_child, call_start_time, call_id)
SELECT t.tag, c.status, c.parent_conversation_id IS NOT NULL OR ifnull(c.initiation_source, '') = 'subagent_tool',
    c.call_start_time, c.id
FROM former_call_tags t CROSS JOIN calls c ON c.id = t.call_id ORDER BY 1, 2, 3, 4, 5;

DROP TABLE former_call_tags;
CREATE INDEX call_tags_call ON call_tags (call_id);

CREATE TABLE call_tools (
    tool            TEXT NOT NULL, -- name of a tool or guardrail
    status          TEXT NOT NULL, -- as in calls
    is_child        INTEGER NOT NULL, -- 1 if a sub-agent held the conversation for another one
    call_start_time TEXT NOT NULL, -- as in calls
    call_id         INTEGER NOT NULL REFERENCES calls (id) ON DELETE CASCADE, -- its call
    PRIMARY KEY (tool, status, is_child, call_start_time, call_id)
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO call_tools (tool, status, is_child, call_start_time, call_id)
SELECT k.name, c.status, c.parent_conversation_id IS NOT NULL OR ifnull(c.initiation_source, '') = 'subagent_tool',
    c.call_start_time, c.id
FROM tool_calls k CROSS JOIN calls c ON c.conversation_id = k.conversation_id ORDER BY 1, 2, 3, 4, 5;

CREATE INDEX call_tools_call ON call_tools (call_id);

UPDATE calls SET tool_error = 1 WHERE conversation_id IN (SELECT conversation_id FROM tool_calls WHERE is_error = 1);

DROP INDEX tool_calls_name;
DROP INDEX tool_calls_error;

CREATE TRIGGER call_tagged_first AFTER INSERT ON calls
WHEN new.tags IS NOT NULL
BEGIN
    INSERT OR IGNORE INTO call_tags (tag, status, is_child, call_start_time, call_id)
    SELECT value, new.status,
        new.parent_conversation_id IS NOT NULL OR ifnull(new.initiation_source, '') = 'subagent_tool',
        new.call_start_time, new.id
    FROM json_each(new.tags) WHERE type = 'text';
END;

CREATE TRIGGER call_tagged AFTER UPDATE OF tags ON calls
WHEN old.tags IS NOT new.tags
BEGIN
    DELETE FROM call_tags WHERE call_id = new.id;
    INSERT OR IGNORE INTO call_tags (tag, status, is_child, call_start_time, call_id)
    SELECT value, new.status,
        new.parent_conversation_id IS NOT NULL OR ifnull(new.initiation_source, '') = 'subagent_tool',
        new.call_start_time, new.id
    FROM json_each(ifnull(new.tags, '[]')) WHERE type = 'text';
END;

CREATE TRIGGER call_moved AFTER UPDATE OF status, call_start_time, parent_conversation_id, initiation_source ON calls
WHEN (old.status, old.call_start_time, old.parent_conversation_id, old.initiation_source)
    IS NOT (new.status, new.call_start_time, new.parent_conversation_id, new.initiation_source)
BEGIN
    UPDATE call_tags SET status = new.status, call_start_time = new.call_start_time,
        is_child = new.parent_conversation_id IS NOT NULL OR ifnull(new.initiation_source, '') = 'subagent_tool'
    WHERE call_id = new.id;
    UPDATE call_tools SET status = new.status, call_start_time = new.call_start_time,
        is_child = new.parent_conversation_id IS NOT NULL OR ifnull(new.initiation_source, '') = 'subagent_tool'
    WHERE call_id = new.id;
END;

-- These two run when a record is stored, not when a turn is.
CREATE TRIGGER tool_called AFTER INSERT ON tool_calls
BEGIN
    INSERT OR IGNORE INTO call_tools (tool, status, is_child, call_start_time, call_id)
    SELECT new.name, c.status,
        c.parent_conversation_id IS NOT NULL OR ifnull(c.initiation_source, '') = 'subagent_tool',
        c.call_start_time, c.id
    FROM calls c WHERE c.conversation_id = new.conversation_id;
    UPDATE calls SET tool_error = 1
    WHERE new.is_error = 1 AND conversation_id = new.conversation_id AND tool_error = 0;
END;

CREATE TRIGGER tool_call_deleted AFTER DELETE ON tool_calls
BEGIN
    DELETE FROM call_tools WHERE tool = old.name
        AND call_id = (SELECT id FROM calls WHERE conversation_id = old.conversation_id)
        AND NOT EXISTS (SELECT 1 FROM tool_calls
            WHERE conversation_id = old.conversation_id AND name = old.name);
    UPDATE calls SET tool_error = 0
    WHERE old.is_error = 1 AND conversation_id = old.conversation_id AND tool_error = 1
        AND NOT EXISTS (SELECT 1 FROM tool_calls WHERE conversation_id = old.conversation_id AND is_error = 1);
END;

-- Conversations with a recording whose call is not stored yet. Their rows are deleted when it is.
CREATE TABLE waiting_recordings (
    conversation_id TEXT PRIMARY KEY -- id of the conversation
) STRICT;

CREATE TRIGGER recording_waited AFTER INSERT ON calls
WHEN EXISTS (SELECT 1 FROM waiting_recordings WHERE conversation_id = new.conversation_id)
BEGIN
    UPDATE calls SET has_audio = 1 WHERE id = new.id;
    DELETE FROM waiting_recordings WHERE conversation_id = new.conversation_id;
END;
