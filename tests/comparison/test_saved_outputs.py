"""What was saved with --format json, as one of the outputs that are compared."""

import io
from dataclasses import replace

import pytest

from etwdetect.comparison.saved_outputs import Output, compare_outputs, read_output
from etwdetect.core.errors import EtwDetectError
from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Detection, Process
from etwdetect.results.record import to_json
from etwdetect.results.saved import MAX_LINE, SavedResults

FOUND = Detection(RemoteThread(132_337_152_000_000_000, 100, 101, 200, 301), "etw", Process(100), Process(200))
LINE = to_json(FOUND).encode() + b"\n"
OF_THE_DRIVER = replace(FOUND, detector="driver")


def read(content, fault=None):
    return read_output(SavedResults(io.BytesIO(content), "etw.json", fault), "etw.json")


def test_the_detections_of_an_output_come_with_the_witness_that_reported_them():
    assert read(LINE * 2) == Output("etw.json", "etw", [FOUND, FOUND])


def test_an_output_with_no_line_is_of_no_witness():
    assert read(b"\n") == Output("etw.json", None, [])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (LINE + b"no record\n" + LINE, "line 2: not valid JSON: Expecting value at character 1"),
        (LINE + b"\xff\n", "line 2: it has bytes that are not valid text"),
        (LINE + b"x" * (MAX_LINE + 1), "line 2: it is longer than 8,388,608 characters"),
        (
            LINE + to_json(OF_THE_DRIVER).encode(),
            "record 2 is from the detector 'driver', those before it from 'etw'",
        ),
        (
            to_json(replace(FOUND, count=3, last_time=FOUND.thread.time)).encode(),
            "record 1 stands for 3 remote threads; record again without merging repeats",
        ),
    ],
)
def test_an_output_is_refused_as_a_whole_for_one_line_that_cannot_be_compared(content, why):
    with pytest.raises(EtwDetectError) as caught:
        read(content)
    assert str(caught.value) == f"etw.json: {why}"


def test_an_output_that_could_not_be_unpacked_to_its_end_is_refused():
    with pytest.raises(EtwDetectError, match=r"etw\.json: cannot be unpacked any further"):
        read(LINE, "cannot be unpacked any further")


def test_the_outputs_of_etw_and_of_the_driver_have_their_places():
    of_etw, of_driver = Output("one", "etw", [FOUND]), Output("two", "driver", [OF_THE_DRIVER])
    assert compare_outputs(of_etw, of_driver).status == "passed"
    for wrong in ((of_driver, of_etw), (of_etw, of_etw), (of_driver, of_driver)):
        with pytest.raises(EtwDetectError, match="the output of ETW is named first, that of the driver second"):
            compare_outputs(*wrong)
