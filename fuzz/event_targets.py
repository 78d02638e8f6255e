"""The fuzz targets for single events and their call stacks; `fuzz.targets` says what a target is."""

from __future__ import annotations

import io
from functools import cache
from struct import Struct
from typing import TYPE_CHECKING, Final

from etwdetect.core.events import MOST_FRAMES, ThreadStart
from etwdetect.core.filetime import LAST_FILETIME
from etwdetect.core.raw import (
    EVENT_TRACING,
    IMAGE,
    KERNEL_PROCESS,
    LOST_EVENTS,
    PROCESS,
    STACK_WALK,
    SYSTEM_CONFIG,
    SYSTEM_CONFIG_EX,
    THREAD,
    RawEvent,
)
from etwdetect.enrich.fields import END_OF_PROGRAMS
from etwdetect.live.stacks import LiveStacks
from etwdetect.offline.deferred_stacks import DeferredStacks
from etwdetect.sources.decode import Decoder
from etwdetect.sources.decode.encode import encode
from etwdetect.sources.etl.reader import Trace
from etwdetect.sources.etl.records import STACK_ITEMS
from etwdetect.sources.etl.writer import TraceOptions, TraceWriter
from etwdetect.sources.eventdata.schema import Recording, from_row, to_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.core.events import CallStack

# -- decoding

_EVENT: Final = Struct("<BBBBBIIQ")
_PROVIDERS: Final = (
    KERNEL_PROCESS, PROCESS, THREAD, IMAGE, SYSTEM_CONFIG, SYSTEM_CONFIG_EX, LOST_EVENTS, bytes(16)
)  # fmt: skip


def decoding(data: bytes) -> None:
    """Decode one event: what comes out fits a row of events as data and is read back from it."""
    if len(data) < _EVENT.size:
        return
    provider, number, version, opcode, wide, pid, tid, time = _EVENT.unpack_from(data)
    raw = RawEvent(
        _PROVIDERS[provider % len(_PROVIDERS)], number, version, opcode, time % (LAST_FILETIME + 1), pid, tid,
        8 if wide & 1 else 4, data[_EVENT.size :],
    )  # fmt: skip
    damages: list[str] = []
    event = Decoder(lambda _, what: damages.append(what), images=True).decode(raw)
    assert all(what.isprintable() for what in damages)
    if event is not None and type(event).__name__ != "ThreadStop":
        row = to_row(Recording("host", "name"), 0, event)
        assert from_row(row).event == event, (event, row)


# -- call stacks

_PIECE: Final = Struct("<BBBH")
_AT: Final = Struct("<qII")
_CREATED: Final = ThreadStart(132337152100000000, 10, 11, 20, 21)
_ITEM_TYPES: Final = sorted(STACK_ITEMS)


def stacks(data: bytes) -> None:
    """Put the pieces of a stack together, recorded and live: each part is one, or a reason is told."""
    recorded, live = DeferredStacks(limit=1 << 12), LiveStacks()
    opened = Trace(io.BytesIO(_empty_trace()), "fuzz.etl")
    recorded.begin(opened)
    recorded.expect(_CREATED)
    found = []
    for raw in _pieces(data, opened.clock.raw(_CREATED.time)):
        recorded.add(raw)
        stack = live.take(raw, _CREATED if raw.provider == KERNEL_PROCESS else None) if raw.stacks else None
        if stack is not None:
            found.append(stack)
    for stack in (*map(live.completed, found), recorded.of(_CREATED)):
        if stack is not None:
            _hold(stack)


def _pieces(data: bytes, time: int) -> Iterator[RawEvent]:
    """Yield the events in *data*: those of StackWalk, the thread's start and user parts, each with its size."""
    at = 0
    while at + _PIECE.size <= len(data):
        what, number, later, size = _PIECE.unpack_from(data, at)
        payload = data[at + _PIECE.size :][:size]
        at += _PIECE.size + size
        head = RawEvent(
            STACK_WALK, 0, 2, 32 + number % 8, _CREATED.time + later, 10, 11, 4 if what & 4 else 8, b""
        )
        items = ((_ITEM_TYPES[number % len(_ITEM_TYPES)], payload),)
        if what & 3 == 1:
            yield encode(_CREATED)._replace(stacks=items)
        elif what & 3 == 2:
            yield head._replace(provider=EVENT_TRACING, id=18, stacks=items)
        else:  # what names an event names this one, or whatever it says
            names = _AT.pack(time, 10, 11) if what & 8 else b""
            yield head._replace(payload=names + payload)


@cache
def _empty_trace() -> bytes:
    file = io.BytesIO()
    with TraceWriter(file, TraceOptions(_CREATED.time)) as writer:
        writer.write(encode(_CREATED))
    return file.getvalue()


def _hold(stack: CallStack) -> None:
    end = END_OF_PROGRAMS[8]
    assert stack[:3] == _CREATED[:3]
    for frames, why in ((stack.kernel_frames, stack.no_kernel), (stack.user_frames, stack.no_user)):
        assert why if frames is None else 0 < len(frames) <= MOST_FRAMES
    assert all(frame >= end for frame in stack.kernel_frames or ())
    assert stack.user_frames is None or stack.user_frames[0] < end
