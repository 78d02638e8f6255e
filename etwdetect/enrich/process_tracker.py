"""The lives of processes: an id stands for another program once its process has ended."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeVar

from etwdetect.core.events import SYSTEM_PID, ProcessRundown, ProcessStart
from etwdetect.enrich.modules import ModuleMap

if TYPE_CHECKING:
    from etwdetect.core.events import ImageLoad, ImageUnload, ProcessStop

    Told = ProcessStart | ProcessRundown

_Known = TypeVar("_Known")

MOST_LIVES: Final = 65_536
MOST_WEIGHT: Final = 256 << 10
"""How many images, and times 128 characters of names and command lines, all lives together may have."""

_WEIGHT_OF_TEXT: Final = 128
_SAME_START: Final = 100_000
"""10 ms: two providers tell of the same start within this time, one with the path, one without."""

_SHORT_NAME: Final = 14
"""From how many characters on a name may be cut short: old kernels keep 15 bytes of it."""


class Life:
    """One process from its start to its exit.

    *told* is what events said of it, *parent* what was known of its parent when it began, *modules* its images.
    *awaited* is the FILETIME until which an image of it may still be the one in which a thread of it started.
    """

    __slots__ = ("awaited", "modules", "parent", "told", "weight")

    def __init__(self, told: Told | None = None, parent: Told | None = None) -> None:
        self.told = told
        self.parent = parent
        self.modules: ModuleMap | None = None
        self.awaited = 0
        self.weight = 0

    @property
    def seen_to_start(self) -> bool:
        """Whether the events tell of its whole life so far."""
        return isinstance(self.told, ProcessStart)

    @property
    def image(self) -> str | None:
        """Its program, with the full path if an event of its images has that."""
        name = self.told.image if self.told else None
        if name and self.modules and "\\" not in name:
            return self.modules.programs.get(name.lower(), name)
        return name


def start_time(told: Told) -> int | None:
    """Return the FILETIME at which a process started, if that was told."""
    return told.create_time or (told.time if isinstance(told, ProcessStart) else None)


class Lives:
    """Follows the lives of processes in time order; of more than *bound* the one heard of longest ago goes first.

    A process that is only listed at the end of a trace was there before: `foresee` takes such listings ahead
    of time, from events in any order.
    """

    def __init__(self, bound: int = MOST_LIVES) -> None:
        self._bound = bound
        self._living: OrderedDict[int, Life] = OrderedDict()
        self._weight = 0
        self._listed: OrderedDict[int, ProcessRundown] = OrderedDict()
        self._listed_text = 0
        self._first_start: OrderedDict[int, int] = OrderedDict()
        self._ended: OrderedDict[int, int] = OrderedDict()
        """By process id: when a process with it ended last."""
        self._just_ended: dict[int, Life] = {}
        self._last_end = 0

    # -- ahead of time

    def foresee_start(self, event: ProcessStart) -> None:
        """Take a start of the same trace before its turn."""
        first = self._first_start.get(event.pid, event.time)
        self._remember(self._first_start, event.pid, min(event.time, first))

    def foresee_listing(self, event: ProcessRundown) -> None:
        """Take a listing of the same trace before its turn."""
        known = self._listed.get(event.pid)
        if not event.image or (known is not None and known.time <= event.time):
            return
        if known is not None:
            self._listed_text -= _text(known)
        self._listed_text += _text(event)
        self._listed[event.pid] = event
        self._listed.move_to_end(event.pid)
        while len(self._listed) > self._bound or self._listed_text > MOST_WEIGHT:
            self._listed_text -= _text(self._listed.popitem(last=False)[1])

    def does_not_start_before(self, pid: int, time: int) -> bool:
        """Whether no start of *pid* is foreseen up to *time*."""
        return self._first_start.get(pid, time + 1) > time

    # -- in time order

    def start(self, event: ProcessStart) -> None:
        """Take the start of a process."""
        known = self._living.get(event.pid)
        told = known.told if known else None
        if known and isinstance(told, ProcessStart) and event.time - told.time <= _SAME_START:
            self._tell(event.pid, known, _merged(told, event))
        else:
            self._begin(event.pid, Life(event, self._parent_at_start(event)))

    def list(self, event: ProcessRundown) -> None:
        """Take that a process was found to exist."""
        known = self._living.get(event.pid)
        if known is None or (known.told is not None and _is_another(known.told, event)):
            self._begin(event.pid, Life(event))
        else:
            self._tell(event.pid, known, event if known.told is None else _merged(known.told, event))

    def stop(self, event: ProcessStop) -> None:
        """Take the exit of a process."""
        if self._last_end != event.time:
            self._just_ended.clear()
            self._last_end = event.time
        life = self._living.pop(event.pid, None)
        if life is not None:
            self._weight -= life.weight
            if len(self._just_ended) < self._bound:
                self._just_ended[event.pid] = life
        self._remember(self._ended, event.pid, event.time)

    def load(self, event: ImageLoad) -> None:
        """Take the mapping of an image."""
        life = self._living.get(event.pid)
        if life is None:
            life = self._begin(event.pid, Life())
        if life.modules is None:
            life.modules = ModuleMap()
        life.modules.load(event)
        self._weigh(event.pid, life)

    def unload(self, event: ImageUnload) -> None:
        """Take the unmapping of an image."""
        life = self._living.get(event.pid)
        if life is not None and life.modules is not None:
            life.modules.unload(event, keep=event.time <= life.awaited)
            self._weigh(event.pid, life)

    # -- questions

    def at(self, pid: int, time: int) -> Life | None:
        """Return the life that the id *pid* stands for at *time*, that of the last event.

        Whoever does something and exits at one tick of a coarse clock does it before.
        """
        life = self._living.get(pid)
        if life is None and time == self._last_end:
            life = self._just_ended.get(pid)
        if life is not None and life.told is not None:
            return life
        if pid not in self._ended and pid in self._listed:
            # Not seen to start or to end so far: the listing to come is of the same life, unless the id starts
            # anew before it.
            listed = self._listed[pid]
            if self.does_not_start_before(pid, listed.time - 1):
                life = life or self._begin(pid, Life())
                self._tell(pid, life, listed)
        return life

    def now(self, pid: int, time: int) -> Life:
        """Return the life that `at` does, or one of which nothing is known yet."""
        return self.at(pid, time) or self._begin(pid, Life())

    def since(self, pid: int) -> int:
        """Return the time before which what happened to *pid* happened to another life of the id."""
        life = self._living.get(pid)
        return life.told.time if life and life.seen_to_start and life.told else self._ended.get(pid, 0)

    def parent(self, life: Life, time: int) -> Told | None:
        """Return what is known of the parent of *life*, as that was when the life began.

        Of a process that was only listed the parent's id may long belong to another. It is the parent's still if
        that process started first.
        """
        told = life.told
        if told is None or told.parent_pid is None:
            return None
        now = self.at(told.parent_pid, time)
        if now is None or now.told is None:
            return life.parent
        if life.seen_to_start:
            sure = life.parent is not None and life.parent.time == now.told.time
        elif told.parent_pid == SYSTEM_PID:
            sure = True
        else:
            began, parent_began = start_time(told), start_time(now.told)
            sure = began is not None and parent_began is not None and parent_began <= began
        # Its images may have told the path of its program since.
        return now.told._replace(image=now.image) if sure else life.parent

    def _parent_at_start(self, event: ProcessStart) -> Told | None:
        parent = None if event.parent_pid is None else self.at(event.parent_pid, event.time)
        return parent.told if parent else None

    # -- memory

    def _begin(self, pid: int, life: Life) -> Life:
        known = self._living.get(pid)
        if known is not None:
            self._weight -= known.weight
        self._living[pid] = life
        self._weigh(pid, life)
        return life

    def _tell(self, pid: int, life: Life, told: Told) -> None:
        life.told = told
        self._weigh(pid, life)

    def _weigh(self, pid: int, life: Life) -> None:
        """Note that *life* was heard of, and forget others where all together are too many."""
        self._living.move_to_end(pid)
        weight = _text(life.told) + _text(life.parent) + len(life.modules or ())
        self._weight += weight - life.weight
        life.weight = weight
        while len(self._living) > self._bound or self._weight > MOST_WEIGHT:
            self._weight -= self._living.popitem(last=False)[1].weight

    def _remember(self, memory: OrderedDict[int, _Known], pid: int, known: _Known) -> None:
        memory[pid] = known
        memory.move_to_end(pid)
        if len(memory) > self._bound:
            memory.popitem(last=False)


def _text(told: Told | None) -> int:
    """Return the weight of the text in *told*."""
    if told is None:
        return 0
    return (len(told.image or "") + len(told.command_line or "")) // _WEIGHT_OF_TEXT


def _merged(known: Told, event: Told) -> Told:
    """Return *known* with what *event*, of the same life, tells besides."""
    missing = {
        name: new
        for name in ("parent_pid", "session_id", "create_time", "sid", "command_line")
        if getattr(known, name) in (None, "") and (new := getattr(event, name)) is not None
    }
    if event.image and len(event.image) > len(known.image or "") and _is_same_program(known.image, event.image):
        missing["image"] = event.image
    return known._replace(**missing) if missing else known


def _is_another(known: Told, event: ProcessRundown) -> bool:
    """Whether the process that *event* lists is not the *known* one, whose exit was then not told."""
    began, listed_began = start_time(known), event.create_time
    if began is not None and listed_began is not None:
        return abs(began - listed_began) > _SAME_START
    return not _is_same_program(known.image, event.image)


def _is_same_program(one: str | None, other: str | None) -> bool:
    if not one or not other or "\\x" in one + other:  # an escape stands for what a code page had
        return True
    names = sorted((path.rpartition("\\")[2].lower() for path in (one, other)), key=len)
    return names[0] == names[1] or (len(names[0]) >= _SHORT_NAME and names[1].startswith(names[0]))
