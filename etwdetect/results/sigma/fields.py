"""The fields that a rule can ask for, and which of them each source can tell.

This table is the one place for both: the evaluation takes its columns from it, and so do the warnings about rules
that can't be judged, and the table in docs/sigma.md.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

Value = str | int | None


class Source(Enum):
    """Where records come from; the value is what it is called in messages."""

    KERNEL_LOGGER = "a trace of the NT Kernel Logger"
    KERNEL_PROCESS = "a trace of Microsoft-Windows-Kernel-Process"
    LIVE = "a live session"
    DRIVER = "the driver"


class Has(Enum):
    """Whether a source has a field."""

    YES = "yes"
    PARTLY = "partly"  # of some processes; docs/sigma.md has of which
    NO = "no"


class Field(NamedTuple):
    """A field by its *name* in json; a *number* is compared as one. A *constant* is the same in every record."""

    name: str
    has: tuple[Has, Has, Has, Has]
    number: bool = False
    constant: str | int | None = None

    def of(self, source: Source) -> Has:
        """Return whether *source* has it."""
        return self.has[list(Source).index(source)]


_Y, _P, _N = Has

# In the order of Source: kernel logger, Kernel-Process, live, driver.
_ALWAYS: Final = (_Y, _Y, _Y, _Y)
_IMAGE: Final = (_Y, _P, _Y, _P)
_PARENT: Final = (_Y, _P, _Y, _P)
_SESSION: Final = (_Y, _P, _Y, _P)
_BORN: Final = (_P, _P, _Y, _P)
_COMMAND_LINE: Final = (_Y, _N, _P, _P)
_USER: Final = (_Y, _N, _P, _P)
_ADDRESS: Final = (_Y, _Y, _Y, _N)
_MODULE: Final = (_Y, _P, _Y, _N)
_FUNCTION: Final = (_P, _P, _Y, _N)

_OF_A_PROCESS: Final = (
    ("ProcessGuid", _BORN, False),
    ("ProcessId", _ALWAYS, True),
    ("Image", _IMAGE, False),
    ("CommandLine", _COMMAND_LINE, False),
    ("User", _USER, False),
    ("TerminalSessionId", _SESSION, True),
    ("StartTime", _BORN, True),
    ("ParentProcessId", _PARENT, True),
    ("ParentImage", _IMAGE, False),
    ("ParentCommandLine", _COMMAND_LINE, False),
)

FIELDS: Final = (
    Field("SchemaVersion", _ALWAYS, number=True),
    Field("Detector", _ALWAYS),
    Field("Computer", (_P, _N, _Y, _Y)),
    Field("Time", _ALWAYS, number=True),
    Field("UtcTime", _ALWAYS),
    *(Field(f"{side}{name}", has, number) for side in ("Source", "Target") for name, has, number in _OF_A_PROCESS),
    Field("SourceThreadId", _ALWAYS, number=True),
    Field("NewThreadId", _ALWAYS, number=True),
    Field("StartAddress", _ADDRESS),
    Field("StartModule", _MODULE),
    Field("StartModuleOffset", _MODULE),
    Field("StartFunction", _FUNCTION),
    Field("Kind", _ALWAYS),
    Field("KindReason", _ALWAYS),
    Field("Severity", _ALWAYS),
    Field("Evidence", _ALWAYS),
    # What rules for other collectors ask beside them. Of a remote thread all three are known.
    Field("EventID", _ALWAYS, number=True, constant=8),
    Field("IsInitialThread", _ALWAYS, constant="false"),
    Field("RemoteCreation", _ALWAYS, constant="true"),
)

ALIASES: Final = {"User": "SourceUser"}
"""Other names that rules have for a field."""

_BY_NAME: Final = {field.name.casefold(): field for field in FIELDS} | {
    alias.casefold(): field for alias, name in ALIASES.items() for field in FIELDS if field.name == name
}


def field_called(name: str) -> Field | None:
    """Return the field that a rule calls *name*, in upper or lower case; None where records have none of it."""
    return _BY_NAME.get(name.casefold())


def lacking(sources: Iterable[Source], *, functions: bool = True, modules: bool = True) -> frozenset[str]:
    """Return the names of the fields that no record has that comes from all of *sources* together.

    Without *functions* there are no images to read export tables from; without *modules* no image events.
    """
    told = list(sources)
    names = {field.name for field in FIELDS if told and all(field.of(source) is Has.NO for source in told)}
    if not functions or not modules:
        names.add("StartFunction")
    if not modules:
        names |= {"StartModule", "StartModuleOffset"}
    return frozenset(names)
