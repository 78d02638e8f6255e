"""The book's line, and it with the names behind it."""

import pytest

from etwdetect.output import text, times
from etwdetect.rule import RemoteThread

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
    assert text.classic_line(thread, times.clock_time(times.utc(thread.time))) == line


CLASSIC = "now: Remote Thread from PID: 7392 TID: 4788 -> PID: 8336 TID: 9384"


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
    assert text.text_line(detection(*images, evidence=evidence), "now") == CLASSIC + behind
