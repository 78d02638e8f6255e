"""Names from whoever starts a process, through the whole command line into every format and every sink."""

import contextlib
import csv
import io
import json
import socket
import sqlite3

import pytest

from etwdetect.core.events import ProcessRundown, ThreadStart
from etwdetect.results import record
from etwdetect.results.escape import cell
from etwdetect.results.formats import FORMATS, Form
from etwdetect.results.wording import printable
from tests.results.conftest import FULL
from tests.results.sinks.conftest import HOST, HttpServer, StreamServer
from tests.results.sinks.test_syslog import parsed
from tests.traces_by_writer import SECOND, START, write_trace

NAMES = [
    "\x1b[2J\x1b]0;owned\x07.exe",
    "two\nlines\r\x85\u2028.exe",
    "half\ud800.exe",
    "\udc00other half.exe",
    "=cmd|'/c calc'!A0",
    "@SUM(1+1)*cmd",
    "a.exe;=cmd|'/c calc'!A0",
    '<script>alert("1")</script>',
    "<!--",
    "'; DROP TABLE remote_threads; --",
    '"]} {"x": 1}\\',
    "%n%s%1 %SystemRoot%",
    "\u202egnp.exe",
    "\x9b2J\x7f\x08.exe",
    "\ufeff\u200b.exe",
    "\U0010ffff\U000e0001.exe",
    "x" * 32_000,
    "\u202e" * 20_000,
]
SAVED_NAMES = [*NAMES, "\0", "nul\0nul.exe"]
LONGEST_LINE = 8 << 20

JSON_FORMATS = [name for name, each in FORMATS.items() if each.form is Form.LINE]
PLACES = {
    "ecs": ("process", "executable"),
    "ocsf": ("actor", "process", "file", "path"),
    "sysmon-event": ("Event", "EventData", "SourceImage"),
}
"""Where the source's image stands in formats that have names of their own."""


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """A trace in which each name makes a thread in itself under another id."""
    events = []
    for number, name in enumerate(NAMES):
        source, target = 1000 + 4 * number, 5000 + 4 * number
        events += [
            ProcessRundown(START + 1, pid, create_time=START - 60 * SECOND, image=name) for pid in (source, target)
        ]
        events.append(ThreadStart(START + (10 + number) * SECOND, source, source + 1, target, target + 1, 0x7FF0))
    return write_trace(tmp_path_factory.mktemp("hostile") / "names.etl", events, buffer_size=1 << 20)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Saved json in which each name stands wherever text can; one has a NUL, which no trace can have."""
    path = tmp_path_factory.mktemp("hostile") / "names.json"
    texts = [name for name, value in record.to_dict(FULL).items() if isinstance(value, str)]
    fixed = {name for name in texts if name.endswith(("Time", "Guid", "Offset", "Address", "Sha256"))} | {
        "Detector",
        "SigmaLevel",  # is computed
    }
    with path.open("w", encoding="ascii") as file:
        for number, name in enumerate(SAVED_NAMES):
            known = {**record.to_dict(FULL), **dict.fromkeys(set(texts) - fixed, name)}
            known |= {"Evidence": [name, name], "Sigma": [name], "Absent": {name: name}}
            time = START + number * SECOND
            known |= {"Time": str(time), "UtcTime": f"2020-05-12 00:00:{number:02}.000"}
            file.write(json.dumps(known) + "\n")
    return path


@pytest.fixture(params=["trace", "saved"])
def names_and_input(request):
    return (NAMES if request.param == "trace" else SAVED_NAMES), request.getfixturevalue(request.param)


def lines_of(done):
    assert done.status == 0, done.err
    assert all(line.isprintable() for line in done.err.split("\n"))
    assert done.out.endswith("\n")
    lines = done.out.split("\n")[:-1]
    assert all(line.isprintable() and len(line) < LONGEST_LINE for line in lines)
    return lines


def test_every_format_is_tested_here():
    assert set(FORMATS) - set(JSON_FORMATS) == {"text", "classic", "csv", "parquet", "sqlite"}


@pytest.mark.parametrize("form", ["text", "classic"])
def test_lines_for_people_print(etwdetect, names_and_input, form):
    names, given = names_and_input
    lines = lines_of(etwdetect("scan", given, "--format", form))
    assert len(lines) == len(names)
    if form == "text":
        for line, name in zip(lines, names, strict=True):
            assert f"  {printable(name)} -> {printable(name)}" in line


def test_explanations_print(etwdetect, names_and_input):
    names, given = names_and_input
    lines = lines_of(etwdetect("explain", given))
    assert len([line for line in lines if not line.startswith(" ")]) == len(names)


def test_cells_are_no_formulas_and_stay_in_their_row(etwdetect, names_and_input):
    names, given = names_and_input
    done = etwdetect("scan", given, "--format", "csv")
    done.out = done.out.removeprefix("\ufeff")  # by which Excel knows UTF-8
    lines = lines_of(done)
    csv.field_size_limit(LONGEST_LINE)
    rows = list(csv.DictReader(io.StringIO("\n".join(lines))))
    assert [row["SourceImage"] for row in rows] == [cell(name) for name in names]
    parts = [part for row in rows for value in row.values() for part in value.split(";")]
    assert all(part.lstrip()[:1] not in set("=+-@") or not part for part in parts)


@pytest.mark.slow
@pytest.mark.parametrize("form", JSON_FORMATS)
def test_json_of_every_kind_keeps_the_name_to_the_letter(etwdetect, names_and_input, form):
    names, given = names_and_input
    lines = lines_of(etwdetect("scan", given, "--format", form))
    assert all(line.isascii() for line in lines)
    found = list(map(json.loads, lines))
    for step in PLACES.get(form, ("SourceImage",)):
        found = [each[step] for each in found]
    assert found == names


def test_saved_and_read_again_it_is_still_the_same(etwdetect, names_and_input, tmp_path):
    _, given = names_and_input
    etwdetect("scan", given, "--format", "json", "--output", tmp_path / "saved.json")
    again = etwdetect("scan", tmp_path / "saved.json", "--format", "json")
    assert again.out == (tmp_path / "saved.json").read_text("ascii")


def test_rows_of_a_database_hold_what_prints(etwdetect, names_and_input, tmp_path):
    names, given = names_and_input
    done = etwdetect("scan", given, "--format", "sqlite", "--output", tmp_path / "found.db")
    assert (done.status, done.out) == (0, "")
    with contextlib.closing(sqlite3.connect(tmp_path / "found.db")) as database:
        rows = database.execute("SELECT SourceImage, TargetImage FROM remote_threads ORDER BY Time").fetchall()
    assert rows == [(printable(name), printable(name)) for name in names]


@pytest.mark.slow
def test_rows_of_parquet_hold_what_prints(etwdetect, names_and_input, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    names, given = names_and_input
    done = etwdetect("scan", given, "--format", "parquet", "--output", tmp_path / "found.parquet")
    assert (done.status, done.out) == (0, "")
    rows = parquet.read_table(tmp_path / "found.parquet", columns=["SourceImage", "TargetImage"])
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        (printable(name), printable(name)) for name in names
    ]


def test_names_of_rooms_and_files_of_any_kind_reach_the_sinks_harmless(etwdetect, names_and_input):
    names, given = names_and_input
    with contextlib.ExitStack() as stack:
        web, stream = HttpServer(), StreamServer()
        stack.callback(web.close)
        stack.callback(stream.close)
        log = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        log.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        log.bind((HOST, 0))
        log.settimeout(30)
        urls = (
            f"http://{HOST}:{web.port}/",
            f"syslog+tcp://{HOST}:{stream.port}",
            f"syslog+udp://{HOST}:{log.getsockname()[1]}",
        )
        done = etwdetect("scan", given, "--format", "json", *(part for url in urls for part in ("--to", url)))
        assert done.status == 0, done.err
        posted = b"".join(body for _, _, body in web.requests)
        frames = [stream.frames.get(timeout=30) for _ in names]
        datagrams = [log.recv(65_535) for _ in names]
    assert posted.decode("ascii") == done.out
    for name, frame, datagram in zip(names, frames, datagrams, strict=True):
        assert frame == datagram
        assert frame.decode("utf-8").replace("\ufeff", "", 1).isprintable()
        known = dict(parsed(frame)[1])
        shown = known["SourceImage"]
        if "SourceImage" in known.get("Cut", ""):
            assert printable(name).startswith(shown.removesuffix("…"))
        else:
            assert shown == printable(name)
