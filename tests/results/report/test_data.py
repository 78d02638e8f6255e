import json
from itertools import accumulate

import pytest

from etwdetect.results.report import data
from etwdetect.results.report.labels import start_long
from etwdetect.results.report.records import Records, StartPoint
from etwdetect.results.report.sections import Ranked
from tests.results.report.conftest import HOSTILE, START, attach, detection, hostile


def columns(detections):
    records = Records()
    for each in detections:
        records.add(each, 0)
    in_order = sorted(range(len(records)), key=records.times.__getitem__)
    return data.of(records, Ranked(records), in_order, 2)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_ends_the_script_element_or_is_lost(text):
    written = data.script_json([text])
    assert not set(written) & set("<>&\x1b\0\u2028")
    assert written.isascii()
    assert json.loads(written) == [text]


def test_times_are_the_first_and_the_differences_in_order_of_time():
    made = columns([detection(2), detection(0), detection(0.0000001)])
    assert made["first"] == str(START)
    assert list(accumulate(made["records"]["time"])) == [0, 1, 20_000_000]


def test_pairs_are_numbered_by_rank():
    made = columns(attach())
    lives = [f"{name} {pid}" for name, pid, *_ in made["lives"]]
    assert [lives[source] for source, _ in made["pairs"]] == [
        "invoice.exe 4120",
        "windbg.exe 7392",
        "csrss.exe 640",
    ]
    assert made["records"]["pair"] == [1, 1, 2, 2, 0]
    assert made["parts"] == 2


def test_a_text_is_cut_where_no_honest_one_is_as_long():
    names = [name for name, *_ in columns(hostile())["lives"]]
    assert "\\x1b[2J" in " ".join(names)
    assert max(map(len, names)) < 2_100
    assert any(name.endswith(" more characters)") for name in names)


def test_a_start_at_length_has_its_path_its_function_or_offset_and_its_address():
    start = StartPoint(0x7FF0, 4, "C:\\Windows\\x.dll", 0x10, "Go", ())
    assert start_long(start) == "C:\\Windows\\x.dll!Go 0x00007FF0"
    assert start_long(start._replace(function=None)) == "C:\\Windows\\x.dll+0x10 0x00007FF0"
    assert start_long(start._replace(module=None)) == "0x00007FF0"


def test_no_records_are_columns_without_items():
    assert columns([])["records"]["time"] == []
