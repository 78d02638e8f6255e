"""One line for a remote thread, for people: the book's line, alone or followed by what else is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.enrich.call_fields import frames_of
from etwdetect.enrich.programs import file_name
from etwdetect.results.fields import sigma_level, start_address
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.detection import Calls, Detection
    from etwdetect.results.clock import Clock


_LOUD: Final = frozenset(("critical", "high"))
"""The severities that must stand out."""


def classic_line(detection: Detection, clock: Clock) -> str:
    """Return the line that the driver's client in the book prints, without a date."""
    return _classic(detection.thread, clock.clock_time(detection.thread.time))


def text_line(detection: Detection, clock: Clock) -> str:
    """Return the classic line, followed by what else is known, after two spaces each."""
    line = _classic(detection.thread, clock.time(detection.thread.time))
    return "  ".join((line, *_behind(detection, clock)))


def _classic(thread: RemoteThread, when: str) -> str:
    creator_tid = "?" if thread.creator_tid is None else thread.creator_tid
    return (
        f"{when}: Remote Thread from PID: {thread.creator_pid} TID: {creator_tid}"
        f" -> PID: {thread.pid} TID: {thread.tid}"
    )


def _behind(detection: Detection, clock: Clock) -> Iterator[str]:
    if detection.source.image or detection.target.image:
        yield f"{name(detection.source.image)} -> {name(detection.target.image)}"
    kind_and_start = [each for each in (detection.kind, _start(detection)) if each]
    if kind_and_start:
        loud = f"{detection.severity}: " if detection.severity in _LOUD else ""
        yield printable(loud + ", ".join(kind_and_start))
    if detection.count > 1:
        last = detection.last_time
        yield f"{detection.count:,} times" + ("" if last is None else f" until {clock.time(last)}")
    if detection.sigma:
        level = sigma_level(detection)
        yield f"Sigma{f' ({level})' if level else ''}: {printable('; '.join(detection.sigma))}"
    if clock.stacks and (stack := stack_text(detection.calls)) is not None:
        yield printable(stack)
    if detection.thread.evidence:
        yield f"[{printable(', '.join(detection.thread.evidence))}]"
    if clock.traces and detection.trace is not None:
        yield f"in {printable(detection.trace)}"


def stack_text(calls: Calls) -> str | None:
    """Return the call stack on one line, the innermost call first; None where there is none."""
    if calls.trace is None and calls.kernel is None:
        return None
    user = " < ".join(map(file_name, frames_of(calls.symbols or calls.trace) or ())) or "not there"
    kernel = " < ".join(map(file_name, frames_of(calls.kernel) or ())) or "not there"
    return f"stack: {user}; in the kernel: {kernel}"


def _start(detection: Detection) -> str | None:
    """Return where the thread starts; the bare address only if it is in no known module."""
    start = detection.start
    if start.module is None:
        return start_address(detection) if detection.kind else None
    module = file_name(start.module)
    if start.function is not None:
        return f"{module}!{start.function}"
    return module if start.offset is None else f"{module}+0x{start.offset:X}"


def name(image: str | None) -> str:
    """Return the name of a program's file, printable."""
    return printable(file_name(image)) if image else "<unknown>"
