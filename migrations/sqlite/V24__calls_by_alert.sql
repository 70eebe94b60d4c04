-- The calls by alert, in the order of lists. No turn writes here; a match does.

PRAGMA user_version = 24;

CREATE TABLE alerted_calls (
    alert           TEXT NOT NULL, -- name of an alert that the call matched; an empty text stands for any alert
    status          TEXT NOT NULL, -- as in calls
    is_child        INTEGER NOT NULL, -- 1 if a sub-agent held the conversation for another one
    call_start_time TEXT NOT NULL, -- as in calls
    call_id         INTEGER NOT NULL REFERENCES calls (id) ON DELETE CASCADE, -- its call
    PRIMARY KEY (alert, status, is_child, call_start_time, call_id)
) STRICT, WITHOUT ROWID;

INSERT INTO alerted_calls (alert, status, is_child, call_start_time, call_id)
SELECT a.name, c.status, c.parent_conversation_id IS NOT NULL OR ifnull(c.initiation_source, '') = 'subagent_tool',
    c.call_start_time, c.id
FROM call_alerts a CROSS JOIN calls c ON c.conversation_id = a.conversation_id ORDER BY 1, 2, 3, 4, 5;

INSERT OR IGNORE INTO alerted_calls (alert, status, is_child, call_start_time, call_id)
SELECT '', status, is_child, call_start_time, call_id FROM alerted_calls ORDER BY 1, 2, 3, 4, 5;

CREATE INDEX alerted_calls_call ON alerted_calls (call_id);

CREATE TRIGGER call_alerted AFTER INSERT ON call_alerts
BEGIN
    INSERT OR IGNORE INTO alerted_calls (alert, status, is_child, call_start_time, call_id)
    SELECT a.alert, c.status,
        c.parent_conversation_id IS NOT NULL OR ifnull(c.initiation_source, '') = 'subagent_tool',
        c.call_start_time, c.id
    FROM calls c CROSS JOIN (SELECT new.name AS alert UNION ALL SELECT '') a
    WHERE c.conversation_id = new.conversation_id;
END;

CREATE TRIGGER call_alert_deleted AFTER DELETE ON call_alerts
BEGIN
    DELETE FROM alerted_calls WHERE alert = old.name
        AND call_id = (SELECT id FROM calls WHERE conversation_id = old.conversation_id);
    DELETE FROM alerted_calls WHERE alert = ''
        AND call_id = (SELECT id FROM calls WHERE conversation_id = old.conversation_id)
        AND NOT EXISTS (SELECT 1 FROM call_alerts WHERE conversation_id = old.conversation_id);
END;

-- As before, and for alerts.
DROP TRIGGER call_moved;
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
    UPDATE alerted_calls SET status = new.status, call_start_time = new.call_start_time,
        is_child = new.parent_conversation_id IS NOT NULL OR ifnull(new.initiation_source, '') = 'subagent_tool'
    WHERE call_id = new.id;
END;
