"""Makes the sample traces: `python samples/make.py [DIRECTORY]`, by default beside this file.

The traces are of the project's own writer, not of a real machine, and the same bytes each time.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from etwdetect.core.events import ImageLoad, ProcessRundown, ProcessStart, ProcessStop, ThreadStart
from etwdetect.sources.decode.encode import encode
from etwdetect.sources.etl.writer import TraceOptions, TraceWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etwdetect.core.events import Event

SECOND: Final = 10_000_000
MIDNIGHT: Final = 132_337_152_000_000_000
"""2020-05-12, 00:00 UTC."""

SYSTEM, CSRSS, EXPLORER, WINDBG, NOTEPAD = 4, 620, 4120, 7392, 8336
NTDLL, NTDLL_SIZE, NTDLL_STAMP, NTDLL_CHECKSUM = 0x7FFC_6E1B_0000, 0x1F_0000, 0x5EB9_D9C0, 0x1F_8A2B
REMOTE_BREAKIN_OFFSET: Final = 0xCD3F0
REMOTE_BREAKIN: Final = NTDLL + REMOTE_BREAKIN_OFFSET
THREAD_START: Final = 0x7FF6_3A50_1230


def at(hours: int, minutes: int, seconds: float) -> int:
    """Return a time of the samples' day as a FILETIME."""
    return MIDNIGHT + round((hours * 3600 + minutes * 60 + seconds) * SECOND)


def before() -> list[Event]:
    """Return what the trace lists of processes that were there before it."""
    processes = ((SYSTEM, "System"), (CSRSS, "csrss.exe"), (EXPLORER, "explorer.exe"))
    return [
        ProcessRundown(at(13, 7, 50), pid, create_time=at(8, 0, 1), image=_device_path(name))
        for pid, name in processes
    ]


def start(time: int, creator: tuple[int, int], pid: int, tid: int, name: str) -> list[Event]:
    """Return the start of a program: the process, its first thread by the same creator, and ntdll."""
    return [
        ProcessStart(time, *creator, pid, creator[0], 1, time, image=_device_path(name)),
        ThreadStart(time + 6_900, *creator, pid, tid, THREAD_START),
        ImageLoad(time + 21_000, pid, NTDLL, NTDLL_SIZE, NTDLL_CHECKSUM, NTDLL_STAMP, _device_path("ntdll.dll")),
        ThreadStart(time + 310_000, pid, tid, pid, tid + 4, NTDLL + 0x2_2CF0),
    ]


def windbg_attach() -> list[Event]:
    """Return the story: WinDbg attaches to Notepad, and later the user presses Break."""
    return [
        *before(),
        *start(at(13, 7, 58.114), (EXPLORER, 5032), NOTEPAD, 8344, "notepad.exe"),
        *start(at(13, 8, 4.377), (EXPLORER, 5032), WINDBG, 13092, "windbg.exe"),
        ThreadStart(at(13, 8, 15.180), WINDBG, 13092, WINDBG, 4788, THREAD_START),
        ThreadStart(at(13, 8, 15.280), WINDBG, 4788, NOTEPAD, 9384, REMOTE_BREAKIN),
        ThreadStart(at(13, 8, 58.660), WINDBG, 13092, NOTEPAD, 13288, REMOTE_BREAKIN),
        ProcessStop(at(13, 9, 40.5), NOTEPAD),
    ]


def quiet() -> list[Event]:
    """Return a minute in which programs start and end, and nobody makes a thread for another."""
    return [
        *before(),
        *start(at(13, 7, 58.114), (EXPLORER, 5032), NOTEPAD, 8344, "notepad.exe"),
        ThreadStart(at(13, 8, 20), SYSTEM, 96, NOTEPAD, 8360, NTDLL + 0x2_2CF0),
        ProcessStop(at(13, 8, 40.5), NOTEPAD),
        *start(at(13, 8, 45.2), (EXPLORER, 5032), NOTEPAD, 8344, "calc.exe"),
        ProcessStop(at(13, 8, 58), NOTEPAD),
    ]


def write(path: Path, events: Sequence[Event]) -> None:
    """Write *events* as a trace of two CPUs, which take turns."""
    options = TraceOptions(start_time=at(13, 7, 40), cpus=2, buffer_size=8192)
    with path.open("w+b") as file, TraceWriter(file, options) as writer:
        for number, event in enumerate(events):
            writer.write(encode(event), cpu=(number + 1) % 2)


def _device_path(name: str) -> str:
    return f"\\Device\\HarddiskVolume3\\Windows\\System32\\{name}"


def main() -> None:
    """Make all samples."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    write(directory / "windbg-attach.etl", windbg_attach())
    write(directory / "quiet.etl", quiet())


if __name__ == "__main__":
    main()
