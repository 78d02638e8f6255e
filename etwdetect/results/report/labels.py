r"""The texts of a report; all text from a trace that a browser shows is made harmless here.

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
from etwdetect.enrich.programs import file_name
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from etwdetect.enrich.detection import Process
    from etwdetect.results.report.records import Assessment, StartPoint

MAX_SHOWN: Final = 2_048
"""How many characters of one text are shown."""

NOT_RATED: Final = "not rated"
NO_KIND: Final = "kind not known"
NO_PROGRAM: Final = "unknown program"
NO_REASON: Final = "no reason given"
NOT_KNOWN: Final = "not known"


def shown(text: str) -> str:
    """Return *text* with what does not print escaped, cut after MAX_SHOWN characters."""
    if len(text) > MAX_SHOWN:
        return f"{printable(text[:MAX_SHOWN])} … ({len(text) - MAX_SHOWN:,} more characters)"
    return printable(text)


def program(image: str | None) -> str:
    """Return the name of a program without its folder."""
    return shown(file_name(image)) if image else NO_PROGRAM


def process(of: Process) -> str:
    """Return the name and id of a process."""
    return f"{program(of.image)} {of.pid}"


def offset(number: int) -> str:
    """Return an offset as Sysmon writes numbers."""
    return f"0x{number:X}"


def address(start: StartPoint) -> str | None:
    """Return the start address."""
    return hex_address(start.address, start.pointer_size)


def start_short(start: StartPoint) -> str:
    """Return the most exact of what is known of a start: function, place in a module, or address."""
    if start.module is None:
        return address(start) or NOT_KNOWN
    return _place(program(start.module), start)


def start_long(start: StartPoint) -> str:
    """Return the place in the module, with its path, and the address."""
    place = start.module and _place(shown(start.module), start)
    return " ".join(filter(None, (place, address(start)))) or NOT_KNOWN


def _place(module: str, start: StartPoint) -> str:
    if start.function is not None:
        return f"{module}!{shown(start.function)}"
    return module if start.offset is None else f"{module}+{offset(start.offset)}"


def severity_rank(severity: str | None) -> int:
    """Return a rank that is smaller for a worse severity; no severity comes last."""
    if severity is None:
        return len(SEVERITIES) + 1
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def severity(assessment: Assessment) -> str:
    """Return the severity as text."""
    return NOT_RATED if assessment.severity is None else shown(assessment.severity)


def kind(assessment: Assessment) -> str:
    """Return the kind as text."""
    return NO_KIND if assessment.kind is None else shown(assessment.kind)


def signs(assessment: Assessment) -> str:
    """Return the evidence and the Sigma rules in one line."""
    return ", ".join((*(f"Sigma: {shown(rule)}" for rule in assessment.sigma), *map(shown, assessment.evidence)))


def details(assessment: Assessment) -> list[tuple[str, str]]:
    """Return what else is known of an assessment, with what it is called: why it has its kind, ATT&CK, rules."""
    said = [("Why", shown(assessment.reason or ""))]
    said.append(("ATT&CK", shown(", ".join(assessment.techniques))))
    for rule in assessment.rules:
        about = [f"level {rule.level}" if rule.level else "", rule.id, ", ".join(rule.tags), *rule.references]
        said.append((f"Sigma: {shown(rule.title)}", "\n".join(shown(each) for each in about if each)))
    return [(name, text) for name, text in said if text]


def moment(time: int) -> str:
    """Return the FILETIME *time* in UTC with its date; past the year 9999 as a number."""
    try:
        return filetime.full_time(filetime.utc(time))
    except OverflowError:
        return f"FILETIME {time}"
