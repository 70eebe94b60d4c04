-- What live streams tell of calls, in the order of commit, and figures of calls that are over.
--
-- Changes of calls. Turns need nothing here: their ids are never used twice and
-- grow with each commit. The rules stand in triggers, so that whoever writes to the file, a change is told.

PRAGMA user_version = 6;

CREATE TABLE call_changes (
    id      INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice; greater for later commits
    call_id INTEGER NOT NULL, -- calls.id; not a reference, since the change of an erased call stays
    kind    TEXT NOT NULL CHECK (kind IN ('started', 'updated', 'ended', 'erased')),
    turn_id INTEGER NOT NULL -- the greatest call_transcriptions.id at that moment: turns up to it came before
) STRICT;

CREATE INDEX call_changes_call ON call_changes (call_id);
CREATE INDEX call_changes_erased ON call_changes (id) WHERE kind = 'erased';

-- The first change is number 2, so that no change has the number that means "none seen".
INSERT INTO call_changes (call_id, kind, turn_id) VALUES (0, 'erased', 0);
DELETE FROM call_changes;

CREATE TRIGGER call_started AFTER INSERT ON calls
BEGIN
    INSERT INTO call_changes (call_id, kind, turn_id)
    SELECT new.id, iif(new.status = 'in_progress', 'started', 'ended'),
        ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'call_transcriptions'), 0);
END;

-- Not for what each turn changes (turn_count, first_turn_time, last_turn_time, updated_at), nor, while the call runs,
-- for what each history changes.
CREATE TRIGGER call_changed AFTER UPDATE OF
    driver_id, call_start_time, call_end_time, status, driver_source, driver_conflict, duration_seconds, agent_id,
    user_id, direction, termination_reason, outcome, title, summary, main_language, cost, external_number, batch_id,
    analysis, live_only, matched, added, corrected, repeated ON calls
WHEN (old.driver_id, old.call_start_time, old.call_end_time, old.status, old.driver_source, old.driver_conflict,
      old.duration_seconds, old.agent_id, old.user_id, old.direction, old.termination_reason, old.outcome, old.title,
      old.summary, old.main_language, old.cost, old.external_number, old.batch_id, old.analysis)
  IS NOT
     (new.driver_id, new.call_start_time, new.call_end_time, new.status, new.driver_source, new.driver_conflict,
      new.duration_seconds, new.agent_id, new.user_id, new.direction, new.termination_reason, new.outcome, new.title,
      new.summary, new.main_language, new.cost, new.external_number, new.batch_id, new.analysis)
  OR (new.status <> 'in_progress'
      AND (old.live_only, old.matched, old.added, old.corrected, old.repeated)
   IS NOT (new.live_only, new.matched, new.added, new.corrected, new.repeated))
BEGIN
    INSERT INTO call_changes (call_id, kind, turn_id)
    SELECT new.id, iif(old.status = 'in_progress' AND new.status <> 'in_progress', 'ended', 'updated'),
        ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'call_transcriptions'), 0);
END;

CREATE TRIGGER call_erased AFTER DELETE ON calls
BEGIN
    DELETE FROM call_changes WHERE call_id = old.id;
    INSERT INTO call_changes (call_id, kind, turn_id)
    SELECT old.id, 'erased', ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'call_transcriptions'), 0);
END;

-- How calls that are over were talked, by what their turns tell: characters of the words as they were said in the end, and
-- an estimate in seconds. A turn is taken to last as long as 15 characters a second need, but no longer than until the
-- next one begins; the rest until then is silence. After the last turn nothing is counted.
CREATE TABLE call_figures (
    call_id           INTEGER PRIMARY KEY REFERENCES calls (id) ON DELETE CASCADE,
    turn_count        INTEGER NOT NULL, -- calls.turn_count at that time; when that is another now, the row means nothing
    agent_turns       INTEGER NOT NULL,
    driver_turns      INTEGER NOT NULL,
    agent_characters  INTEGER NOT NULL,
    driver_characters INTEGER NOT NULL,
    agent_seconds     REAL NOT NULL,
    driver_seconds    REAL NOT NULL,
    silence_seconds   REAL NOT NULL
) STRICT;

INSERT INTO call_figures
SELECT
    c.id,
    c.turn_count,
    count(*) FILTER (WHERE speaker_type = 'agent'),
    count(*) FILTER (WHERE speaker_type = 'driver'),
    ifnull(sum(characters) FILTER (WHERE speaker_type = 'agent'), 0),
    ifnull(sum(characters) FILTER (WHERE speaker_type = 'driver'), 0),
    round(ifnull(sum(ifnull(min(characters / 15.0, gap), characters / 15.0))
        FILTER (WHERE speaker_type = 'agent'), 0.0), 3),
    round(ifnull(sum(ifnull(min(characters / 15.0, gap), characters / 15.0))
        FILTER (WHERE speaker_type = 'driver'), 0.0), 3),
    round(ifnull(sum(max(gap - characters / 15.0, 0.0)), 0.0), 3)
FROM (
    SELECT
        conversation_id,
        speaker_type,
        length(coalesce(final_text, message_text)) AS characters,
        max((julianday(lead(timestamp) OVER said) - julianday(timestamp)) * 86400.0, 0.0) AS gap
    FROM call_transcriptions
    WHERE superseded_by IS NULL
    WINDOW said AS (PARTITION BY conversation_id ORDER BY ifnull(place, 0), timestamp, sequence_number)
) t
JOIN calls c ON c.conversation_id = t.conversation_id
WHERE c.status <> 'in_progress'
GROUP BY c.id;
