import warnings
from pathlib import Path

import pytest

import etwdetect
from etwdetect.core.errors import NotATraceError
from etwdetect.core.rule import RemoteThread
from tests.traces_by_writer import START, attack, write_trace

SAMPLE = Path(__file__).parent.parent / "samples" / "windbg-attach.etl"


def test_scan_yields_the_remote_threads_in_time_order():
    threads = list(etwdetect.scan(SAMPLE))
    assert threads == [
        RemoteThread(132337624952800000, 7392, 4788, 8336, 9384, 0x7FFC6E27D3F0),
        RemoteThread(132337625386600000, 7392, 13092, 8336, 13288, 0x7FFC6E27D3F0),
    ]


def test_scan_warns_of_what_is_missing(tmp_path):
    path = write_trace(tmp_path / "lossy.etl", attack(), events_lost=7)
    with pytest.warns(etwdetect.IncompleteTraceWarning, match="7 events"):
        threads = list(etwdetect.scan(path))
    assert threads[0].evidence == ("events-lost:7",)


def test_scan_warns_of_nothing_where_nothing_is_missing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(etwdetect.scan(write_trace(tmp_path / "a.etl", attack(START + 20_000_000))))) == 1


def test_scan_raises_for_what_is_no_trace(tmp_path):
    with pytest.raises(NotATraceError, match="cannot be opened"):
        list(etwdetect.scan(tmp_path / "none.etl"))
