"""The table that the conditions of rules are asked of."""

import sqlite3
import threading

import pytest

from etwdetect.results.sigma.table import RecordTable


def test_its_database_is_closed_in_whatever_thread_its_last_user_goes():
    tables = [RecordTable(())]
    connection = tables[0]._connection
    thread = threading.Thread(target=tables.clear)
    thread.start()
    thread.join()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")
