"""What rules can ask of a call stack: facts that follow from its frames as they are shown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from etwdetect.enrich.paths import on_its_volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etwdetect.enrich.detection import Calls, Detection

    Value = str | tuple[str, ...] | None

UNBACKED: Final = "Unbacked"
"""In a summary: frames in none of the images that the process had mapped."""
UNKNOWN: Final = "Unknown"
"""In a summary: frames in none of its known images, which may not be all."""
NAMELESS: Final = "?"
"""The name of an image whose event has none."""

RUNTIMES: Final = (
    *("clr.dll", "coreclr.dll", "mscorwks.dll", "mono-2.0-bdwgc.dll", "mono-2.0-sgen.dll"),
    *("jvm.dll", "v8.dll", "node.exe", "chrome.dll", "msedge.dll", "electron.exe", "libcef.dll", "xul.dll"),
    *("chakra.dll", "jscript9.dll", "mozjs.dll", "luajit.dll", "lua51.dll"),
)
"""Modules that make code at run time, so that calls come from outside any image. CPython makes none."""

SYSTEM_FOLDERS: Final = ("system32", "syswow64", "sychpe32", "sysarm32")
SYSTEM_CALLERS: Final = frozenset(
    f"\\windows\\{folder}\\{name}.dll"
    for folder in SYSTEM_FOLDERS
    for name in (
        *("ntdll", "win32u"),
        *("user32", "gdi32", "imm32"),  # before Windows 10 these called the kernel's windows themselves
        *("wow64cpu", "wow64win", "wow64"),  # of 32-bit programs
        *("xtajit", "xtajit64", "xtajit64se", "wowarmhw"),  # the emulators of ARM64
    )
)
"""Windows' own modules, without their drive, in which a program's calls of the kernel stand."""

_EMULATORS: Final = ("wow64", "xtajit", "wowarmhw")
"""What the names of modules begin with that stand between a 32-bit program's ntdll.dll and the kernel."""

_ASKS: Final = (
    *("CreateRemoteThread", "CreateRemoteThreadEx", "RtlCreateUserThread", "RtlCreateUserThreadEx"),
    *("DbgUiIssueRemoteBreakin", "DebugActiveProcess", "DebugBreakProcess"),
)
"""Functions that a program calls to have a thread made in another process."""

_SYMBOL: Final = re.compile(r"([^!]+![^!]+)\+0x([0-9a-f]{1,8})")
_STUB: Final = 32
"""The size in bytes of a function of ntdll.dll that only calls the kernel."""


def frames_of(part: str | None) -> tuple[str, ...] | None:
    """Return the frames of a part of a stack, the innermost first."""
    return tuple(part.split("|")) if part else None


def _module(frame: str) -> str:
    """Return the path in a *frame*; the frame itself where it is in no image."""
    return frame.rpartition("+")[0] or frame


def _names(calls: Calls) -> tuple[str, ...]:
    return tuple(calls.summary.split("|")) if calls.summary else ()


def _unbacked(calls: Calls) -> str | None:
    names = _names(calls)
    if UNBACKED in names:
        return "yes"
    return None if not names or UNKNOWN in names else "no"


def _native(calls: Calls) -> str | None:
    """Whether ntdll.dll was called by another module than those that programs call it through.

    Only its caller tells: each thread of a program ends in kernel32.dll, where it began.
    """
    names = [name for name in _names(calls) if not name.startswith(_EMULATORS)]
    caller = next((name for name in names if name != "ntdll.dll"), None)
    if caller is None or {UNKNOWN, NAMELESS} & {names[0], caller}:
        return None
    return "yes" if names[0] == "ntdll.dll" and caller not in {"kernelbase.dll", "kernel32.dll"} else "no"


def _direct_system_call(calls: Calls) -> str | None:
    """Whether the kernel was called past Windows' own modules; None where the innermost one may be one of them."""
    frames = frames_of(calls.trace)
    if frames is None or _names(calls)[:1] == (UNKNOWN,):
        return None
    module = _module(frames[0])
    path = on_its_volume(module) or module
    if path.lower() in SYSTEM_CALLERS:
        return "no"
    return None if path == module and _may_be_a_system_caller(module.lower()) else "yes"


def _may_be_a_system_caller(module: str) -> bool:
    r"""Whether *module*, in lower case, may be in Windows' folder: a bare name, or on a volume of another kind.

    Such as a container's, ``\device\vmsmb\vsmb-{...}\os\windows\system32\ntdll.dll``.
    """
    return module == NAMELESS or any(
        caller.endswith(f"\\{module}") or module.endswith(caller) for caller in SYSTEM_CALLERS
    )


def _nested(calls: Calls) -> str | None:
    """Whether the kernel part has the place where a program's call enters the kernel, its last frame, twice."""
    frames = frames_of(calls.kernel)
    if frames is None:
        return None
    return "yes" if frames[-1] in frames[:-1] else "no"


def _named(calls: Calls) -> Iterator[tuple[int, str, int]]:
    """Yield each frame that has a function: its number, the function, and how many bytes behind its begin."""
    for number, frame in enumerate(frames_of(calls.symbols) or ()):
        found = _SYMBOL.fullmatch(frame)
        if found is not None:
            yield number, found[1], int(found[2], 16)


def _functions(calls: Calls) -> tuple[str, ...] | None:
    """Return the functions of the user part, such as ``ntdll.dll!NtCreateThreadEx``."""
    return tuple(function for _, function, _ in _named(calls)) or None


def _entry(calls: Calls) -> str | None:
    """Return the function that calls the kernel: that of the innermost frame, if it is only there for that."""
    return next(
        (function for number, function, distance in _named(calls) if not number and distance < _STUB), None
    )


def _asked(calls: Calls) -> str | None:
    names = [function.rpartition("!")[2] for function in _functions(calls) or ()]
    return next((name for name in reversed(names) if name in _ASKS), None)


def _of(take: Callable[[Calls], Value]) -> Callable[[Detection], Value]:
    return lambda detection: take(detection.calls)


CALL_FIELDS: Final[dict[str, Callable[[Detection], Value]]] = {
    "CallTrace": _of(lambda calls: frames_of(calls.trace)),
    "CallKernel": _of(lambda calls: frames_of(calls.kernel)),
    "CallSummary": _of(lambda calls: calls.summary),
    "CallUserPart": _of(lambda calls: "yes" if calls.trace else "no" if calls.kernel else None),
    "CallUnbacked": _of(_unbacked),
    "CallRuntime": _of(lambda calls: calls.runtime),
    "CallNative": _of(_native),
    "CallDirectSyscall": _of(_direct_system_call),
    "CallNested": _of(_nested),
    "CallFunctions": _of(_functions),
    "CallEntry": _of(_entry),
    "CallAsked": _of(_asked),
}
"""The fields of a stack that a rule can name. docs/reference/kinds.md describes them."""
