r"""What the call stack of a remote thread's creator says: its frames by image, and a summary.

The forms are Sysmon's CallTrace and Elastic's call_stack_summary:

>>> from etwdetect.enrich.modules import Module
>>> ntdll = Module(0x7FFC0000, 0x10000, "C:\\Windows\\System32\\ntdll.dll", None, None, 0)
>>> frame_text(0x7FFC36BB, ntdll, ntdll.path, 8)
'C:\\Windows\\System32\\ntdll.dll+36bb'
>>> frame_text(0x1A2B3C4D5E6, None, None, 8)
'UNKNOWN(000001A2B3C4D5E6)'
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.enrich.call_fields import NAMELESS, RUNTIMES, UNBACKED, UNKNOWN
from etwdetect.enrich.detection import Calls
from etwdetect.enrich.programs import file_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etwdetect.core.events import CallStack
    from etwdetect.core.rule import RemoteThread
    from etwdetect.enrich.imagefiles import ImageFiles
    from etwdetect.enrich.images import ImageFinder
    from etwdetect.enrich.modules import Module
    from etwdetect.enrich.paths import Paths
    from etwdetect.enrich.tracked_process import TrackedProcess

MOST_HELD: Final = 1 << 20
"""How many frames of remote threads are held that wait for the end of their grace period: some 50 MB."""

_LOWEST_CODE: Final = 0x1_0000
"""Below it no program has memory. Windows puts a frame of 0 between the 64-bit and the 32-bit part of a stack."""

_MOST_OF_A_TICK: Final = 256
"""Of how many thread starts the stacks are held that come before them, at one tick."""

TOO_MANY_FRAMES: Final = "the stacks of too many remote threads waited at once"

_Key = tuple[int, int, int]


class FoundCalls(NamedTuple):
    """A stack with the image of each frame; *all_known* says that no other image can hold one of the user part.

    *runtime* is the module of the creator that makes code, if it has one.
    """

    stack: CallStack
    kernel: tuple[Module | None, ...]
    user: tuple[Module | None, ...]
    all_known: bool
    runtime: str | None

    def paths(self) -> Iterator[str | None]:
        """Yield the paths of its images."""
        return (module.path for module in chain(self.kernel, self.user) if module)

    @property
    def weight(self) -> int:
        """The number of its frames."""
        return len(self.kernel) + len(self.user)


class CallFinder:
    """Keeps the stacks of thread starts that are about to come, and finds their frames in images.

    *files* are the image files to look functions up in, *pointer_size* the machine's, in bytes.
    """

    def __init__(self, images: ImageFinder, paths: Paths, files: ImageFiles | None, pointer_size: int) -> None:
        self._images = images
        self._files = files
        self._paths = paths
        self._pointer_size = pointer_size
        self._coming: dict[_Key, CallStack] = {}
        self._time = 0
        self._frames = 0

    def observe(self, stack: CallStack) -> None:
        """Take the stack of a thread start that is the next event, or one of the next at the same time."""
        if stack.time != self._time:
            self._coming.clear()
            self._time = stack.time
        if len(self._coming) < _MOST_OF_A_TICK:
            self._coming[stack[:3]] = stack

    def of(self, thread: RemoteThread) -> CallStack | None:
        """Return the stack of *thread*, if it was observed."""
        return self._coming.get((thread.time, thread.creator_pid, thread.creator_tid or 0))

    def find(self, thread: RemoteThread, creator: TrackedProcess) -> FoundCalls | None:
        """Return the stack of *thread* with the images of its frames as of now; give it to `describe` once."""
        stack = self.of(thread)
        if stack is None:
            return None
        pid, time = thread.creator_pid, thread.time
        if self._frames + len(stack.kernel_frames or ()) + len(stack.user_frames or ()) > MOST_HELD:
            stack = stack._replace(
                kernel_frames=None, user_frames=None, no_kernel=TOO_MANY_FRAMES, no_user=TOO_MANY_FRAMES
            )
        found = FoundCalls(
            stack,
            tuple(self._images.in_kernel(address, time) for address in stack.kernel_frames or ()),
            tuple(self._images.at(pid, creator, address, time) for address in stack.user_frames or ()),
            self._images.why_not_all(pid, creator, creator.modules, time) is None,
            self._runtime(pid, creator),
        )
        self._frames += found.weight
        return found

    def _runtime(self, pid: int, creator: TrackedProcess) -> str | None:
        coming = () if creator.seen_to_start else (event.image for event in self._images.coming.of(pid))
        mapped = creator.modules.paths() if creator.modules else ()
        names = {file_name(path).lower() for path in chain(mapped, coming) if path}
        return next((runtime for runtime in RUNTIMES if runtime in names), None)

    def describe(self, found: FoundCalls) -> tuple[Calls, tuple[tuple[str, str], ...]]:
        """Return what *found* says, and the reason for each missing field."""
        self._frames -= found.weight
        stack = found.stack
        names: dict[str | None, str | None] = {None: None}
        for module in chain(found.kernel, found.user):
            if module is not None and module.path not in names:
                names[module.path] = _one_frame(self._paths.dos(module.path or ""))
        kernel, user = (
            "|".join(
                frame_text(address, module, names[module.path if module else None], self._pointer_size)
                for address, module in zip(addresses or (), modules, strict=True)
            )
            for addresses, modules in ((stack.kernel_frames, found.kernel), (stack.user_frames, found.user))
        )
        outside = UNBACKED if found.all_known else UNKNOWN
        summary = "|".join(_without_repeats(_summed_up(stack.user_frames or (), found.user, outside)))
        symbols = self._symbols(stack.user_frames or (), found.user, names)
        calls = Calls(user or None, kernel or None, summary or None, symbols, found.runtime)
        reasons = ("CallTrace", stack.no_user), ("CallKernel", stack.no_kernel)
        return calls, tuple((name, why) for name, why in reasons if why is not None)

    def _symbols(
        self, addresses: tuple[int, ...], modules: tuple[Module | None, ...], names: dict[str | None, str | None]
    ) -> str | None:
        """Return the frames of the user part with the nearest functions below them; None where none has one."""
        if self._files is None:
            return None
        frames, is_any = [], False
        for address, module in zip(addresses, modules, strict=True):
            path = names[module.path] if module else None
            text = frame_text(address, module, path and file_name(path), self._pointer_size)
            offset = address - module.base if module else 0
            function = self._files.function_below(path, module, offset) if module and path else None
            if function is not None and path:
                is_any = True
                text = f"{file_name(path)}!{_one_frame(function[0])}+0x{offset - function[1]:x}"
            frames.append(text)
        return "|".join(frames) if is_any else None


def frame_text(address: int, module: Module | None, path: str | None, pointer_size: int) -> str:
    """Return a frame in Sysmon's form; *path* is that of *module* as it is shown, *pointer_size* in bytes."""
    if module is None:
        return f"UNKNOWN({address:0{2 * pointer_size}X})"
    return f"{path or NAMELESS}+{address - module.base:x}"


def _one_frame(name: str) -> str:
    """Return *name*, which a hostile trace or file can make look like two frames, as one."""
    return name.replace("|", "\\x7c")


def _summed_up(addresses: tuple[int, ...], modules: tuple[Module | None, ...], outside: str) -> Iterator[str]:
    for address, module in zip(addresses, modules, strict=True):
        if module is not None:
            yield file_name(module.path or NAMELESS).lower()
        elif address >= _LOWEST_CODE:
            yield outside


def _without_repeats(names: Iterator[str]) -> Iterator[str]:
    last = None
    for name in names:
        if name != last:
            yield name
        last = name
