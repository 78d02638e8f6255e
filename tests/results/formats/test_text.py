"""The book's line, and it with all that is known behind it."""

from dataclasses import replace

import pytest

from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Calls, Detection, Process, Start
from etwdetect.results.clock import Clock
from etwdetect.results.formats import text

MIDNIGHT = 132_337_152_000_000_000  # 2020-05-12, 00:00 UTC


@pytest.mark.parametrize(
    ("milliseconds", "ids", "line"),
    [
        (
            (13 * 60 + 8) * 60_000 + 15_280,
            (7392, 4788, 8336, 9384),
            "13:08:15.280: Remote Thread from PID: 7392 TID: 4788 -> PID: 8336 TID: 9384",
        ),
        (
            (13 * 60 + 8) * 60_000 + 58_660,
            (7392, 13092, 8336, 13288),
            "13:08:58.660: Remote Thread from PID: 7392 TID: 13092 -> PID: 8336 TID: 13288",
        ),
        (
            (13 * 60 + 10) * 60_000 + 52_313,
            (7392, 13092, 8336, 12676),
            "13:10:52.313: Remote Thread from PID: 7392 TID: 13092 -> PID: 8336 TID: 12676",
        ),
        (
            (13 * 60 + 11) * 60_000 + 25_207,
            (15268, 7564, 1844, 6688),
            "13:11:25.207: Remote Thread from PID: 15268 TID: 7564 -> PID: 1844 TID: 6688",
        ),
        (
            (13 * 60 + 11) * 60_000 + 25_209,
            (15268, 15152, 1844, 7928),
            "13:11:25.209: Remote Thread from PID: 15268 TID: 15152 -> PID: 1844 TID: 7928",
        ),
    ],
)
@pytest.mark.parametrize("rest", [0, 9_999])
def test_the_lines_of_the_book_come_out_to_the_letter(milliseconds, ids, line, rest):
    thread = RemoteThread(MIDNIGHT + milliseconds * 10_000 + rest, *ids, 0x7FF0, ("session-start",))
    known = Detection(thread, "etw", Process(ids[0], "a.exe"), Process(ids[2], "b.exe"), kind="other", count=3)
    assert text.classic_line(known, Clock(in_utc=True, dates=True)) == line


CLASSIC = "13:08:15.280: Remote Thread from PID: 7392 TID: 4788 -> PID: 8336 TID: 9384"
UTC = Clock(in_utc=True)


@pytest.mark.parametrize(
    ("images", "evidence", "behind"),
    [
        ((None, None), (), ""),
        (("windbg.exe", "notepad.exe"), (), "  windbg.exe -> notepad.exe"),
        (("\\Device\\HarddiskVolume2\\x\\windbg.exe", None), (), "  windbg.exe -> <unknown>"),
        ((None, "notepad.exe"), (), "  <unknown> -> notepad.exe"),
        (("\\Device\\folder\\", "b"), (), "  \\Device\\folder\\ -> b"),
        (("a\x1b[2J\n", "\\b\ud800"), (), "  a\\x1b[2J\\n -> b\\ud800"),
        ((None, None), ("session-start",), "  [session-start]"),
        (("a", "b"), ("events-lost:3", "table-overflow"), "  a -> b  [events-lost:3, table-overflow]"),
    ],
)
def test_behind_the_books_line_stand_the_names_and_the_doubts_that_are_known(detection, images, evidence, behind):
    assert text.text_line(detection(*images, evidence=evidence), UTC) == CLASSIC + behind


NTDLL = "C:\\Windows\\System32\\ntdll.dll"


@pytest.mark.parametrize(
    ("kind", "start", "behind"),
    [
        ("debugger break-in", Start(NTDLL, 5, "DbgBreak"), "  debugger break-in, ntdll.dll!DbgBreak"),
        ("other", Start(NTDLL, 0xCD3F0), "  other, ntdll.dll+0xCD3F0"),
        ("other", Start(NTDLL), "  other, ntdll.dll"),
        (None, Start(NTDLL, 0xCD3F0), "  ntdll.dll+0xCD3F0"),
        ("start outside any image", Start(), "  start outside any image, 0x000001F000001000"),
        (None, Start(), ""),
        ("ki\x1b[2Jnd", Start("x\\a\nb", 1, "f\u202e"), "  ki\\x1b[2Jnd, a\\nb!f\\u202e"),
    ],
)  # fmt: skip
def test_kind_and_start_stand_behind_the_names(detection, kind, start, behind):
    known = replace(detection("a", "b", start_address=0x1F000001000), kind=kind, start=start)
    assert text.text_line(known, UTC) == f"{CLASSIC}  a -> b{behind}"


def test_a_kind_without_an_address_stands_alone(detection):
    assert text.text_line(replace(detection(), kind="other"), UTC) == f"{CLASSIC}  other"


@pytest.mark.parametrize(("severity", "loud"), [("high", "high: "), ("medium", ""), ("low", ""), (None, "")])
def test_a_high_severity_is_said_aloud(detection, severity, loud):
    known = replace(detection(), kind="library load", severity=severity)
    assert text.text_line(known, UTC) == f"{CLASSIC}  {loud}library load"


def test_repeats_and_rules_stand_before_the_doubts(detection):
    known = detection("a", "b", evidence=("session-start",))
    last_time = known.thread.time + 600_000_000
    folded = replace(known, count=1234, last_time=last_time, sigma=("One", "T\x1bwo"))
    behind = "  a -> b  1,234 times until 13:09:15.280  Sigma: One; T\\x1bwo  [session-start]"
    assert text.text_line(folded, UTC) == CLASSIC + behind


def test_dates_stand_before_all_times_when_they_are_shown(detection):
    folded = replace(detection(), count=2, last_time=MIDNIGHT)
    assert text.text_line(folded, Clock(in_utc=True, dates=True)) == (
        f"2020-05-12 {CLASSIC}  2 times until 2020-05-12 00:00:00.000"
    )


STACK = Calls("C:\\Windows\\ntdll.dll+36bb|UNKNOWN(000001A2B3C4D5E6)", "\\SystemRoot\\ntoskrnl.exe+7a053")


def test_a_call_stack_is_shown_on_demand(detection):
    shown = replace(detection(), calls=STACK)
    assert "stack" not in text.text_line(shown, Clock())
    assert text.text_line(shown, Clock(stacks=True)).endswith(
        "  stack: ntdll.dll+36bb < UNKNOWN(000001A2B3C4D5E6); in the kernel: ntoskrnl.exe+7a053"
    )
    assert "stack" not in text.text_line(detection(), Clock(stacks=True))


def test_functions_are_shown_where_they_are_known_and_a_missing_part_as_missing():
    assert text.stack_text(replace(STACK, symbols="ntdll.dll!NtX+0x14|a+1", kernel=None)) == (
        "stack: ntdll.dll!NtX+0x14 < a+1; in the kernel: not there"
    )
    assert text.stack_text(Calls(kernel="a.sys+1")) == "stack: not there; in the kernel: a.sys+1"
    assert text.stack_text(Calls()) is None
