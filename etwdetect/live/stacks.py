"""Call stacks of live thread starts, from the extended data of their events.

Windows gives a stack with its event. Where it can't walk the program's part at once, that part comes in an event
of its own with the same MatchId, when the thread returns to its program. Layouts: `sources.decode.stack_walk`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core.bounded import BoundedMap
from etwdetect.core.events import MOST_FRAMES, CallStack, ThreadStart
from etwdetect.core.raw import EVENT_TRACING
from etwdetect.enrich.fields import END_OF_PROGRAMS
from etwdetect.sources.decode import stack_walk
from etwdetect.sources.decode.stack_walk import MATCH, USER_BY_MATCH, WHOLE

if TYPE_CHECKING:
    from etwdetect.core.events import Event
    from etwdetect.core.raw import RawEvent

MOST_WAITING: Final = 4096
"""How many user parts that came alone, and how many stacks that lack one, are held."""

LATE: Final = "late: Windows had not told this part when the thread was judged"
MISSING: Final = "Windows did not tell this part of the stack"

_END: Final = END_OF_PROGRAMS[8]
"""Live sessions need 64-bit Windows; where the kernel's part ends is the same for 32-bit programs."""

_Of = tuple[int, int, int]


class LiveStacks:
    """Makes CallStacks of the raw events of a session, for thread starts in other processes.

    With *of_own*, also for those in the creator's own process.
    """

    def __init__(self, *, of_own: bool = False) -> None:
        self._of_own = of_own
        self._matches: BoundedMap[_Of, int] = BoundedMap(MOST_WAITING)
        self._user_parts: BoundedMap[int, tuple[int, ...]] = BoundedMap(MOST_WAITING)

    def take(self, raw: RawEvent, event: Event | None) -> CallStack | None:
        """Take *raw*, which has stacks and was decoded to *event*; return the stack of a thread start."""
        is_user_part = raw.provider == EVENT_TRACING
        records = stack_walk.from_items(raw, raw.time, is_user_part=is_user_part)
        pieces = [piece for record in records if (piece := stack_walk.piece(record, 0)) is not None]
        if is_user_part:
            for piece in pieces:
                is_of_program = piece.frames[:1] and piece.frames[0] < _END
                if piece.opcode == MATCH and piece.key is not None and is_of_program:
                    self._user_parts.put(piece.key, piece.frames[:MOST_FRAMES])
            return None
        if not isinstance(event, ThreadStart) or (event.pid == event.creator_pid and not self._of_own):
            return None
        stack = CallStack(event.time, event.creator_pid, event.creator_tid, no_kernel=MISSING, no_user=MISSING)
        for piece in pieces:
            if piece.opcode == WHOLE:
                frames = piece.frames
                split = next((at for at, frame in enumerate(frames) if frame < _END), len(frames))
                stack = _with(stack, frames[:split][:MOST_FRAMES], frames[split:][:MOST_FRAMES])
            elif piece.opcode == USER_BY_MATCH and piece.key is not None:
                self._matches.put(stack[:3], piece.key)
        return stack

    def completed(self, stack: CallStack) -> CallStack:
        """Return *stack* with its user part, if that came alone by now."""
        match = self._matches.pop(stack[:3])
        if match is None or stack.user_frames is not None:
            return stack
        user = self._user_parts.pop(match)
        return stack._replace(no_user=LATE) if user is None else _with(stack, (), user)


def _with(stack: CallStack, kernel: tuple[int, ...], user: tuple[int, ...]) -> CallStack:
    if kernel:
        stack = stack._replace(kernel_frames=kernel, no_kernel=None)
    return stack._replace(user_frames=user, no_user=None) if user else stack
