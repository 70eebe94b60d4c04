"""Does with a database what analysts do with it, by the SQLite that this Python finds: apsw's, or else its own.

Takes a file of SQL to be answered and databases, each of which it leaves as it is. Prints SQLite's version.
"""

import contextlib
import io
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile

try:
    import apsw

    version = apsw.sqlitelibversion()
except ImportError:
    apsw = None
    version = sqlite3.sqlite_version


def connect(path):
    return apsw.Connection(path) if apsw else sqlite3.connect(path, isolation_level=None)


def rows(connection, sql, values=()):
    return [tuple(row) for row in connection.cursor().execute(sql, values)]


def tables(connection):
    names = rows(connection, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return {name: rows(connection, f'SELECT * FROM "{name}"') for (name,) in names}


def whole(connection, what):
    assert rows(connection, "PRAGMA integrity_check") == [("ok",)], (what, rows(connection, "PRAGMA integrity_check"))
    assert rows(connection, "PRAGMA foreign_key_check") == [], what


def dump(path):
    """The database as text, as the shell of this version, or Python, writes it."""
    if not apsw:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return "\n".join(connection.iterdump())
    text = io.StringIO()
    shell = apsw.Shell(stdout=text, args=(path,))
    shell.process_command(".dump")
    return text.getvalue()


def execute_script(connection, sql):
    if apsw:
        connection.cursor().execute(sql)
    else:
        connection.executescript(sql)


EDITS = """
    PRAGMA foreign_keys = ON;
    UPDATE call_transcriptions SET message_text = message_text || ', by hand';
    UPDATE call_transcriptions SET final_text = 'Corrected by hand.', timestamp = '2026-09-28T12:30:00.000000Z'
    WHERE id IN (SELECT id FROM call_transcriptions ORDER BY id LIMIT 1);
    UPDATE calls SET call_start_time = '2026-09-01T12:00:00.000000Z', title = 'By hand', analysis = NULL;
    UPDATE calls SET status = 'failed', driver_claims = NULL;
    INSERT INTO drivers (id, name, created_at, updated_at)
    VALUES (99, 'By Hand', '2026-09-28T12:00:00.000000Z', '2026-09-28T12:00:00.000000Z');
    INSERT INTO calls (conversation_id, driver_id, call_start_time, created_at, updated_at)
    VALUES ('conv_by_hand', 99, '2026-09-28T12:00:00.000000Z', '2026-09-28T12:00:00.000000Z',
        '2026-09-28T12:00:00.000000Z');
    INSERT INTO call_transcriptions (conversation_id, speaker_type, message_text, timestamp, sequence_number, created_at,
        repeat_key)
    VALUES ('conv_by_hand', 'agent', 'By hand.', '2026-09-28T12:00:00.000000Z', 1, '2026-09-28T12:00:00.000000Z', 0);
    UPDATE call_transcriptions SET id = id + 1000 WHERE conversation_id = 'conv_by_hand';
    INSERT INTO webhook_events (digest, received_at, outcome, body)
    VALUES (zeroblob(32), '2026-09-28T12:00:00.000000Z', 'unreadable', 'by hand');
    UPDATE webhook_events SET record = NULL;
"""


def main():
    queries = open(sys.argv[1]).read()
    for path in sys.argv[2:]:
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "transcribe-hook.db")
            shutil.copyfile(path, copy)
            connection = connect(copy)
            whole(connection, path)
            before = tables(connection)
            assert before["refinery_schema_history"], path
            for query in queries.split(";"):
                if query.strip():
                    rows(connection, query)
            for view in ["call_overview", "transcript"]:
                rows(connection, f"SELECT * FROM {view}")

            again = connect(os.path.join(folder, "again.db"))
            execute_script(again, dump(copy))
            whole(again, f"{path}, dumped and loaded")
            assert tables(again) == before, f"{path}: something is lost in a dump"
            again.close()
            if not apsw:
                # The shell that Debian has.
                for command in [".clone cloned.db", ".dump"]:
                    shell = subprocess.run(["sqlite3", copy, command], cwd=folder, capture_output=True, text=True)
                    # Which it says of each file with a column that counts by itself.
                    reserved = "Error: object name reserved for internal use: sqlite_sequence"
                    said = shell.stderr.replace(reserved, "").replace("SQL: [CREATE TABLE sqlite_sequence(name,seq)]", "")
                    assert shell.returncode == 0 and "rror" not in said, shell.stderr
                for name in ["cloned.db", "loaded.db"]:
                    if name == "loaded.db":
                        subprocess.run(["sqlite3", name], cwd=folder, input=shell.stdout, text=True, check=True)
                    other = connect(os.path.join(folder, name))
                    whole(other, f"{path}: {name}")
                    assert tables(other) == before, f"{path}: something is lost in {name}"
                    other.close()

            execute_script(connection, EDITS)
            whole(connection, f"{path}, edited")
            ((title,),) = rows(connection, "SELECT title FROM calls ORDER BY id LIMIT 1") or [("By hand",)]
            assert title in ("By hand", None), title
            execute_script(connection, "DELETE FROM calls; DELETE FROM drivers; DELETE FROM webhook_events;")
            whole(connection, f"{path}, emptied")
            for table in ["calls", "call_transcriptions", "call_histories", "call_figures"]:
                assert rows(connection, f"SELECT * FROM {table}") == [], table
            connection.close()
    print(version)


main()
