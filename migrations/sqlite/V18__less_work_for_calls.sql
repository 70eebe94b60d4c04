-- Less work for a list and for a new call.

PRAGMA user_version = 18;

-- The last message of each call. It is searched for calls that were stored before, until their next turn. As in V14, the
-- schema's text is changed, which touches no row.
PRAGMA writable_schema = ON;

UPDATE sqlite_schema SET sql = replace(sql, 'tool_error INTEGER NOT NULL DEFAULT 0 -- 1 if a tool failed in the call
)', 'tool_error INTEGER NOT NULL DEFAULT 0, -- 1 if a tool failed in the call
    last_message_id INTEGER -- call_transcriptions.id of the message that was spoken or typed last; NULL if unknown
)')
  WHERE type = 'table' AND name = 'calls';

-- SQLite puts a list of more than two texts into a temporary table for each row that is written. The first one is equal
-- for most rows, and then the list is not reached.
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (source IN (''live'', ''history'', ''post_call'', ''import''))',
    'CHECK (source = ''live'' OR (source IN (''live'', ''history'', ''post_call'', ''import'')))')
  WHERE type = 'table' AND name = 'call_transcriptions';
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (status IN (''in_progress'', ''completed'', ''failed''))',
    'CHECK (status = ''in_progress'' OR (status IN (''in_progress'', ''completed'', ''failed'')))')
  WHERE type = 'table' AND name = 'calls';
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (kind IN (''started'', ''updated'', ''ended'', ''erased''))',
    'CHECK (kind = ''started'' OR (kind IN (''started'', ''updated'', ''ended'', ''erased'')))')
  WHERE type = 'table' AND name = 'call_changes';

PRAGMA writable_schema = RESET;

-- The same triggers as before, without an INSERT that selects from its own table: that needs a temporary table, which
-- costs more than everything else that a new call needs.
DROP TRIGGER call_facets_first;
DROP TRIGGER call_facets_changed;

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
END;

CREATE TRIGGER call_facets_added AFTER INSERT ON calls
WHEN NOT EXISTS (SELECT 1 FROM call_facets f WHERE f.status = new.status AND f.answered_by IS new.answered_by
        AND f.outcome IS new.outcome AND f.direction IS new.direction AND f.channel IS new.channel
        AND f.agent_id IS new.agent_id AND f.main_language IS new.main_language
        AND f.environment IS new.environment AND f.has_audio = new.has_audio AND f.tool_error = new.tool_error
        AND f.has_driver = (new.driver_id IS NOT NULL) AND f.reconciled = (new.matched IS NOT NULL)
        AND f.is_child = (new.parent_conversation_id IS NOT NULL
            OR ifnull(new.initiation_source, '') = 'subagent_tool'))
BEGIN
    INSERT INTO call_facets (status, answered_by, outcome, direction, channel, agent_id, main_language, environment,
        has_audio, tool_error, has_driver, reconciled, is_child, first_start, last_start)
    VALUES (new.status, new.answered_by, new.outcome, new.direction, new.channel, new.agent_id, new.main_language,
        new.environment, new.has_audio, new.tool_error, new.driver_id IS NOT NULL, new.matched IS NOT NULL,
        new.parent_conversation_id IS NOT NULL OR ifnull(new.initiation_source, '') = 'subagent_tool',
        new.call_start_time, new.call_start_time);
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
END;

CREATE TRIGGER call_facets_added_later AFTER UPDATE OF status, answered_by, outcome, direction, channel, agent_id,
    main_language, environment, has_audio, tool_error, driver_id, matched, parent_conversation_id, initiation_source,
    call_start_time ON calls
WHEN NOT EXISTS (SELECT 1 FROM call_facets f WHERE f.status = new.status AND f.answered_by IS new.answered_by
        AND f.outcome IS new.outcome AND f.direction IS new.direction AND f.channel IS new.channel
        AND f.agent_id IS new.agent_id AND f.main_language IS new.main_language
        AND f.environment IS new.environment AND f.has_audio = new.has_audio AND f.tool_error = new.tool_error
        AND f.has_driver = (new.driver_id IS NOT NULL) AND f.reconciled = (new.matched IS NOT NULL)
        AND f.is_child = (new.parent_conversation_id IS NOT NULL
            OR ifnull(new.initiation_source, '') = 'subagent_tool'))
BEGIN
    INSERT INTO call_facets (status, answered_by, outcome, direction, channel, agent_id, main_language, environment,
        has_audio, tool_error, has_driver, reconciled, is_child, first_start, last_start)
    VALUES (new.status, new.answered_by, new.outcome, new.direction, new.channel, new.agent_id, new.main_language,
        new.environment, new.has_audio, new.tool_error, new.driver_id IS NOT NULL, new.matched IS NOT NULL,
        new.parent_conversation_id IS NOT NULL OR ifnull(new.initiation_source, '') = 'subagent_tool',
        new.call_start_time, new.call_start_time);
END;
