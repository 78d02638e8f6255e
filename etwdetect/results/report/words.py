r"""How the report names things; what a browser shows of a trace's texts has passed through here.

>>> program("C:\\Windows\\notepad.exe"), program(None)
('notepad.exe', 'unknown program')
>>> shown("a\x1b[2J")
'a\\x1b[2J'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etwdetect.core import filetime
from etwdetect.enrich.fields import hex_address
from etwdetect.enrich.kind_rules import SEVERITIES
from etwdetect.results.escape import printable
from etwdetect.results.formats.schema_fields import file_name

if TYPE_CHECKING:
    from etwdetect.enrich.detection import Process
    from etwdetect.results.report.records import StartPoint, Verdict

LONGEST: Final = 2_048
"""How many characters of one text are shown."""

NOT_RATED: Final = "not rated"
NO_KIND: Final = "kind not known"
NO_PROGRAM: Final = "unknown program"
NO_REASON: Final = "no reason given"
NOT_KNOWN: Final = "not known"


def shown(text: str) -> str:
    """Return *text* with what does not print escaped, and cut where it is longer than any honest one."""
    if len(text) > LONGEST:
        return f"{printable(text[:LONGEST])} … ({len(text) - LONGEST:,} more characters)"
    return printable(text)


def program(image: str | None) -> str:
    """Return the name of a program without its folder."""
    return shown(file_name(image)) if image else NO_PROGRAM


def life(process: Process) -> str:
    """Return what to call one life of a process id."""
    return f"{program(process.image)} {process.pid}"


def offset(number: int) -> str:
    """Return an offset as Sysmon writes numbers."""
    return f"0x{number:X}"


def address(start: StartPoint) -> str | None:
    """Return the start address."""
    return hex_address(start.address, start.pointer_size)


def start_short(start: StartPoint) -> str:
    """Return the best that is known of a start in one word: function, place in a module, or address."""
    if start.module is None:
        return address(start) or NOT_KNOWN
    return _place(program(start.module), start)


def start_long(start: StartPoint) -> str:
    """Return the place in its module, that with its path, and the address."""
    place = start.module and _place(shown(start.module), start)
    return " ".join(filter(None, (place, address(start)))) or NOT_KNOWN


def _place(module: str, start: StartPoint) -> str:
    if start.function is not None:
        return f"{module}!{shown(start.function)}"
    return module if start.offset is None else f"{module}+{offset(start.offset)}"


def severity_rank(severity: str | None) -> int:
    """Return a smaller number for the worse: what has no severity comes last."""
    if severity is None:
        return len(SEVERITIES) + 1
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def severity(verdict: Verdict) -> str:
    """Return the severity in words."""
    return NOT_RATED if verdict.severity is None else shown(verdict.severity)


def kind(verdict: Verdict) -> str:
    """Return the kind in words."""
    return NO_KIND if verdict.kind is None else shown(verdict.kind)


def signs(verdict: Verdict) -> str:
    """Return the evidence and the Sigma rules in one line."""
    return ", ".join((*(f"Sigma: {shown(rule)}" for rule in verdict.sigma), *map(shown, verdict.evidence)))


def moment(time: int) -> str:
    """Return the FILETIME *time* in UTC, in full; a time that no calendar has, as its number."""
    try:
        return filetime.full_time(filetime.utc(time))
    except OverflowError:
        return f"FILETIME {time}"
