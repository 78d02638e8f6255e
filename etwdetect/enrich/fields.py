"""The fields of a detection that rules can refer to, as text, by their names in the record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.enrich.absent import NO_EXPORT, OUTSIDE
from etwdetect.enrich.call_fields import CALL_FIELDS
from etwdetect.enrich.paths import on_its_volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from etwdetect.enrich.detection import Detection, Process

    Value = str | tuple[str, ...] | None

END_OF_PROGRAMS: Final = {4: 0x8000_0000, 8: 1 << 47}
"""By pointer size: the end of user-mode addresses; a 32-bit machine can be configured for 3 of 4 GiB."""
KERNEL_SPACE: Final = {4: 0xC000_0000, 8: 0xFFFF_8000_0000_0000}
"""By pointer size: from here on every address is a kernel address, however the machine is configured."""


def start_place(detection: Detection) -> str | None:
    """Return ``kernel``, ``image`` or ``outside``; None if unknown."""
    address = detection.thread.start_address
    if address is not None and address >= KERNEL_SPACE[detection.pointer_size]:
        return "kernel"
    if detection.start.module is not None:
        return "image"
    return "outside" if dict(detection.absent).get("StartModule") == OUTSIDE else None


def _export(detection: Detection) -> str | None:
    if detection.start.function is not None:
        return "yes"
    return "no" if dict(detection.absent).get("StartFunction") == NO_EXPORT else None


def hex_address(address: int | None, pointer_size: int) -> str | None:
    """Return *address* in Sysmon's format: 8 digits on a 32-bit machine, 16 elsewhere or if it needs more."""
    if address is None:
        return None
    return f"0x{address:0{8 if pointer_size == 4 and address < 1 << 32 else 16}X}"


def _offset(detection: Detection) -> str | None:
    return None if detection.start.offset is None else f"0x{detection.start.offset:X}"


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)


def _of_process(prefix: str, of: Callable[[Detection], Process]) -> dict[str, Callable[[Detection], Value]]:
    return {
        f"{prefix}ProcessId": lambda detection: str(of(detection).pid),
        f"{prefix}Image": lambda detection: of(detection).image,
        f"{prefix}File": lambda detection: on_its_volume(of(detection).image),
        f"{prefix}CommandLine": lambda detection: of(detection).command_line,
        f"{prefix}User": lambda detection: of(detection).user,
        f"{prefix}TerminalSessionId": lambda detection: _number(of(detection).session_id),
        f"{prefix}ParentProcessId": lambda detection: _number(of(detection).parent_pid),
        f"{prefix}ParentImage": lambda detection: of(detection).parent_image,
        f"{prefix}ParentCommandLine": lambda detection: of(detection).parent_command_line,
    }


FIELDS: Final[dict[str, Callable[[Detection], Value]]] = {
    "Detector": lambda detection: detection.detector,
    "Computer": lambda detection: detection.host,
    **_of_process("Source", lambda detection: detection.source),
    **_of_process("Target", lambda detection: detection.target),
    "StartAddress": lambda detection: hex_address(detection.thread.start_address, detection.pointer_size),
    "StartPlace": start_place,
    "StartModule": lambda detection: detection.start.module,
    "StartFile": lambda detection: on_its_volume(detection.start.module),
    "StartModuleOffset": _offset,
    "StartFunction": lambda detection: detection.start.function,
    "StartExport": _export,
    "StartAlso": lambda detection: "pool" if detection.start.pool else None,
    **CALL_FIELDS,
    "Evidence": lambda detection: detection.thread.evidence,
}
"""Every field that a rule can refer to. docs/reference/kinds.md describes those that are not in the record."""

HEXADECIMAL: Final = frozenset(("StartAddress", "StartModuleOffset"))
"""The fields that are hexadecimal numbers."""
