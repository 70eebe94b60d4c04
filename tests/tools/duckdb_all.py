"""Reads, changes and empties a copy of each database by DuckDB, which has a SQLite of its own inside."""

import os
import shutil
import sys
import tempfile

import duckdb

NUMBERS = {"driver_id": "BIGINT", "turn_count": "BIGINT", "duration_seconds": "BIGINT", "agent_turns": "INTEGER",
           "driver_turns": "INTEGER"}

for path in sys.argv[1:]:
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "copy.db")
        shutil.copyfile(path, copy)
        db = duckdb.connect()
        db.sql(f"ATTACH '{copy}' AS hook (TYPE sqlite)")
        db.sql("USE hook")

        def rows(sql):
            return db.sql(sql).fetchall()

        def whole(what):
            assert rows("SELECT * FROM sqlite_query('hook', 'PRAGMA integrity_check')") == [("ok",)], (path, what)

        tables = {name for (name,) in rows("SHOW TABLES")}
        assert {"calls", "call_transcriptions", "call_overview", "transcript", "search_changes"} <= tables, tables
        # It leaves views out.
        assert {row[2] for row in rows("SHOW ALL TABLES")} >= tables - {"call_overview", "transcript"}
        columns = {(table, column) for table, column in
                   rows("SELECT table_name, column_name FROM information_schema.columns")}
        assert ("calls", "conversation_id") in columns and ("search_changes", "turn_id") in columns
        types = {name: kind for name, kind, *_ in rows("DESCRIBE call_overview")}
        assert {name: types[name] for name in NUMBERS} == NUMBERS, types
        for name in tables:
            rows(f'SELECT * FROM "{name}"')
        for durations in rows("SELECT duration_seconds, epoch(CAST(call_end_time AS TIMESTAMPTZ) "
                              "- CAST(call_start_time AS TIMESTAMPTZ)) FROM call_overview"):
            assert durations[0] is None or abs(durations[0] - durations[1]) <= 0.5, durations
        for (version,) in rows("SELECT * FROM sqlite_query('hook', 'SELECT sqlite_version()')"):
            print(version)
        whole("read")
        db.sql("UPDATE call_transcriptions SET message_text = 'By hand.', timestamp = '2026-09-28T12:30:00.000000Z'")
        db.sql("UPDATE calls SET title = 'By hand', call_start_time = '2026-01-01T00:00:00.000000Z', analysis = NULL")
        whole("changed")
        for name in ["call_transcriptions", "call_histories", "call_figures", "calls", "call_dispatches", "drivers"]:
            db.sql(f"DELETE FROM {name}")
            assert rows(f"SELECT count(*) FROM {name}") == [(0,)]
        whole("emptied")
        db.close()
