-- The words of all turns, to be searched. The index is filled after the turns are stored, some hundred at a time: new
-- turns in ascending order, and those that were there before this table in descending order.

PRAGMA user_version = 7;

-- In sqlite3: SELECT * FROM call_transcriptions WHERE id IN (SELECT rowid FROM turn_search WHERE turn_search MATCH 'reefer').
-- Both texts of a turn are found. Marks are letters, so that words of Indic and Thai script are not cut apart.
CREATE VIRTUAL TABLE turn_search USING fts5 (
    final_text,
    message_text,
    content = 'call_transcriptions',
    content_rowid = 'id',
    tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co M*'"
);

-- What is erased leaves no trace in the index's pages.
INSERT INTO turn_search (turn_search, rank) VALUES ('secure-delete', 1);
-- Segments are merged by the service, some pages at a time.
INSERT INTO turn_search (turn_search, rank) VALUES ('automerge', 0);

-- All words in the index, in order.
CREATE VIRTUAL TABLE turn_search_words USING fts5vocab (turn_search, instance);

-- How far the index is: it holds the turns with after_id < id <= to_id, all of them and no others.
CREATE TABLE turn_search_state (
    only     INTEGER PRIMARY KEY CHECK (only = 1),
    after_id INTEGER NOT NULL CHECK (after_id >= 0), -- 0 once the older turns are done
    to_id    INTEGER NOT NULL CHECK (to_id >= after_id)
) STRICT;

INSERT INTO turn_search_state (only, after_id, to_id)
SELECT 1, ifnull(max(id), 0), ifnull(max(id), 0) FROM call_transcriptions;

-- The index needs the old words to forget them, so it does in the statement that takes them away, whoever runs it.
CREATE TRIGGER turn_search_forgets AFTER DELETE ON call_transcriptions
WHEN old.id > (SELECT after_id FROM turn_search_state) AND old.id <= (SELECT to_id FROM turn_search_state)
BEGIN
    INSERT INTO turn_search (turn_search, rowid, final_text, message_text)
    VALUES ('delete', old.id, old.final_text, old.message_text);
END;

CREATE TRIGGER turn_search_learns AFTER UPDATE OF final_text, message_text ON call_transcriptions
WHEN (old.final_text IS NOT new.final_text OR old.message_text IS NOT new.message_text)
    AND old.id > (SELECT after_id FROM turn_search_state) AND old.id <= (SELECT to_id FROM turn_search_state)
BEGIN
    INSERT INTO turn_search (turn_search, rowid, final_text, message_text)
    VALUES ('delete', old.id, old.final_text, old.message_text);
    INSERT INTO turn_search (rowid, final_text, message_text) VALUES (new.id, new.final_text, new.message_text);
END;
