"""Counts the call stacks that a session gave for thread starts of its own process."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from etwdetect.core.events import ThreadStart
from etwdetect.live.stacks import LiveStacks
from etwdetect.sources.decode import Decoder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from etwdetect.core.raw import RawEvent


class StackCounts(NamedTuple):
    """Of *starts* thread starts that came: how many got each part of the stack, and the bytes of all stacks."""

    starts: int
    kernel: int
    user: int
    size: int

    def words(self) -> str:
        """Return the counts in words."""
        each = self.size / self.starts if self.starts else 0
        return (
            f"of {self.starts:,} thread starts {self.kernel:,} got the kernel part of the call stack and"
            f" {self.user:,} the user part, {each:,.0f} bytes each"
        )


def count_stacks(raws: Iterable[RawEvent], pid: int, tids: Collection[int]) -> StackCounts:
    """Count the stacks among *raws*, the events of a session, for the threads *tids* that *pid* made in itself.

    User parts that came alone count however late they came; a monitor does not wait for long.
    """
    decode, held = Decoder(lambda *_: None).decode, LiveStacks(of_own=True)
    starts = size = 0
    stacks = []
    for raw in raws:
        event = decode(raw)
        is_start = isinstance(event, ThreadStart) and event.pid == event.creator_pid == pid and event.tid in tids
        starts += is_start
        stack = held.take(raw, event) if raw.stacks else None
        if is_start and stack is not None:
            stacks.append(stack)
            size += sum(len(data) for _, data in raw.stacks)
    completed = [held.completed(stack) for stack in stacks]
    kernel = sum(stack.kernel_frames is not None for stack in completed)
    user = sum(stack.user_frames is not None for stack in completed)
    return StackCounts(starts, kernel, user, size)
