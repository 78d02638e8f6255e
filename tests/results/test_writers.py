"""Detections as lines, in every format."""

import io

import pytest

from etwdetect.core import filetime
from etwdetect.results import record
from etwdetect.results.clock import Clock
from etwdetect.results.fields import NAMES
from etwdetect.results.formats import FORMATS, needs_a_file
from etwdetect.results.writers import stream_writer

MIDNIGHT = 132_337_152_000_000_000  # 2020-05-12, 00:00 UTC


class Stream(io.StringIO):
    """Keeps what each call of write was given."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def write(self, text):
        self.calls.append(text)
        return super().write(text)


def written(form, *detections, **options):
    stream = Stream()
    writer = stream_writer(stream, form, Clock(**options))
    for detection in detections:
        writer.write(detection)
    return stream


LINE = "13:08:15.280: Remote Thread from PID: 7392 TID: 4788 -> PID: 8336 TID: 9384"


def test_text_is_the_books_line_and_the_names(detection):
    text = written("text", detection("a.exe", "b.exe"), in_utc=True).getvalue()
    assert text == f"{LINE}  a.exe -> b.exe\n"


def test_text_has_the_date_on_demand(detection):
    text = written("text", detection(), in_utc=True, dates=True).getvalue()
    assert text == f"2020-05-12 {LINE}\n"


def test_classic_is_the_books_line_whatever_else_is_known(detection):
    known = detection("a.exe", "b.exe", evidence=("session-start",))
    assert written("classic", known, in_utc=True, dates=True).getvalue() == f"{LINE}\n"


@pytest.mark.parametrize("form", ["text", "classic"])
def test_times_are_in_the_readers_zone_unless_in_utc(detection, form):
    local = filetime.clock_time(filetime.local(MIDNIGHT))
    assert written(form, detection(time=MIDNIGHT)).getvalue().startswith(f"{local}: ")
    assert written(form, detection(time=MIDNIGHT), in_utc=True).getvalue().startswith("00:00:00.000: ")


def test_json_is_a_record_a_line(detection):
    both = detection(), detection("a\nb.exe", pid=9)
    lines = written("json", *both).getvalue().splitlines()
    assert [record.from_json(line) for line in lines] == list(both)


@pytest.mark.parametrize("form", [form for form in FORMATS if not needs_a_file(form)])
def test_each_line_is_one_call_of_write(detection, form):
    stream = written(form, detection("a.exe"), detection("b,\n.exe"))
    heading = ["\ufeff" + ",".join(NAMES) + "\n"] if form == "csv" else []
    assert len(stream.calls) == len(heading) + 2
    assert all(call.endswith("\n") and call.count("\n") == 1 for call in stream.calls)


@pytest.mark.parametrize("form", [form for form in FORMATS if not needs_a_file(form)])
def test_no_name_does_harm_in_any_format(detection, form):
    evil = "=\x1b[2J\r\n\u202e\ud800\0.exe"
    text = written(form, detection(evil, evil)).getvalue()
    assert text.encode("utf-8").splitlines() == text.encode("utf-8").split(b"\n")[:-1]
    assert text.removeprefix("\ufeff").replace("\n", "").isprintable()
