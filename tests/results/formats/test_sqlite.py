"""The sqlite format: a table to ask, in a file that may be there already."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from etwdetect.results import record
from etwdetect.results.errors import OutputError
from etwdetect.results.fields import NAMES
from etwdetect.results.formats.sqlite import DatabaseWriter
from etwdetect.results.wording import printable
from tests.results.conftest import FULL, HOSTILE


@pytest.fixture
def path(tmp_path):
    return tmp_path / "found.db"


def write(path, *detections):
    with closing(DatabaseWriter(path)) as writer:
        for each in detections:
            writer.write(each)


def ask(path, query, *values):
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query, values).fetchall()


def rows(path):
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM remote_threads")]


def test_every_field_is_a_column_in_order(path, detection):
    write(path, FULL, detection())
    full, plain = rows(path)
    assert tuple(full) == NAMES
    for name, value in record.to_dict(FULL).items():
        match value:
            case list() | dict():
                assert json.loads(full[name]) == value
            case _:
                assert str(full[name]) == str(value), name
    assert (full["Time"], full["SourceStartTime"]) == (132337624952800000, 132337624000000000)
    known = {name for name, value in plain.items() if value is not None}
    assert known == record.to_dict(detection()).keys()
    assert plain["Evidence"] == "[]"


@pytest.mark.parametrize(
    "query", ["SourceImage = 'c:\\WINDBG.EXE'", "SourceImage LIKE '%\\WinDbg.exe'", "Kind = 'Debugger Break-In'"]
)
def test_text_compares_without_regard_to_case(path, query):
    write(path, FULL)
    assert ask(path, f"SELECT count(*) FROM remote_threads WHERE {query}") == [(1,)]


def test_a_file_that_is_there_gets_further_rows(path, detection):
    write(path, FULL)
    write(path, detection())
    assert ask(path, "SELECT NewThreadId, StartFunction FROM remote_threads") == [
        (9384, "DbgUiRemoteBreakin"),
        (9384, None),
    ]


def test_other_tables_of_a_database_stay_as_they_are(path):
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE mine (a)")
        database.execute("INSERT INTO mine VALUES (1)")
        database.execute("PRAGMA application_id = 7")
        database.commit()
    write(path, FULL)
    assert ask(path, "SELECT a FROM mine") == [(1,)]
    assert ask(path, "PRAGMA application_id") == [(7,)]


def test_a_file_that_is_no_database_is_refused_and_stays_as_it_is(path):
    path.write_text("Dear diary, " * 500)
    with pytest.raises(OutputError, match="not a database"):
        DatabaseWriter(path)
    assert path.read_text() == "Dear diary, " * 500


def test_a_table_of_the_same_name_with_other_columns_is_refused(path):
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE remote_threads (a)")
        database.commit()
    with pytest.raises(OutputError, match="has other columns"):
        DatabaseWriter(path)
    assert ask(path, "SELECT sql FROM sqlite_master") == [("CREATE TABLE remote_threads (a)",)]


def test_a_locked_file_is_an_error_and_no_wait_without_end(path, monkeypatch):
    write(path, FULL)
    monkeypatch.setattr("etwdetect.results.formats.sqlite._BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OutputError, match="locked"):
            DatabaseWriter(path)


def test_a_file_in_no_folder_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="unable to open"):
        DatabaseWriter(tmp_path / "none" / "found.db")


def test_what_was_flushed_is_visible_to_others_while_it_is_written(path):
    with closing(DatabaseWriter(path)) as writer:
        writer.write(FULL)
        writer.flush()
        assert len(rows(path)) == 1


def test_no_name_does_harm(path, detection):
    write(path, detection(HOSTILE, "'; DROP TABLE remote_threads; --"))
    (row,) = rows(path)
    assert row["SourceImage"] == printable(HOSTILE)
    assert row["TargetImage"] == "'; DROP TABLE remote_threads; --"


def test_a_number_too_large_for_sqlite_is_still_a_time_in_its_column(path, detection):
    made = detection()
    write(path, replace(made, source=replace(made.source, start_time=(1 << 64) - 1)))
    assert rows(path)[0]["SourceStartTime"] == float(1 << 64)
