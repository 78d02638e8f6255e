"""The fields that a Sigma rule can ask for: those of a record, and a few that other collectors have beside them.

The evaluation takes its columns from here, and so do the warnings about rules that can't be judged, and the table
in docs/reference/sigma-fields.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from etwdetect.results import fields
from etwdetect.results.fields import ALWAYS, Availability, RecordSource

if TYPE_CHECKING:
    from collections.abc import Iterable


class RuleField(NamedTuple):
    """A field by its *name*; a *number* is compared as one. A *constant* is the same in every record."""

    name: str
    available: tuple[Availability, ...]
    number: bool = False
    constant: str | int | None = None

    def availability(self, source: RecordSource) -> Availability:
        """Return whether the records of *source* have it."""
        return self.available[list(RecordSource).index(source)]


FIELDS: Final = (
    *(
        RuleField(field.name, field.available, field.type.is_number)
        for field in fields.FIELDS
        if field.available is not None
    ),
    # What rules for other collectors ask beside them: which event of Sysmon it is, whoever found the thread.
    RuleField("EventID", ALWAYS, number=True, constant=8),
    RuleField("Channel", ALWAYS, constant="Microsoft-Windows-Sysmon/Operational"),
    RuleField("Provider_Name", ALWAYS, constant="Microsoft-Windows-Sysmon"),
    RuleField("IsInitialThread", ALWAYS, constant="false"),
    RuleField("RemoteCreation", ALWAYS, constant="true"),
)

PROGRAMS: Final = frozenset(f"{side}{of}Image" for side in ("Source", "Target") for of in ("", "Parent"))
"""The fields with a program, of which only the name may be known."""

ALIASES: Final = {"User": "SourceUser", "ComputerName": "Computer"}
"""Other names that rules have for a field."""

_BY_NAME: Final = {field.name.casefold(): field for field in FIELDS} | {
    alias.casefold(): field for alias, name in ALIASES.items() for field in FIELDS if field.name == name
}


def field_called(name: str) -> RuleField | None:
    """Return the field that a rule calls *name*, in upper or lower case; None where records have no such field."""
    return _BY_NAME.get(name.casefold())


def lacking(sources: Iterable[RecordSource], *, functions: bool = True, modules: bool = True) -> frozenset[str]:
    """Return the names of the fields that no record has that comes from all of *sources* together.

    Without *functions* there are no images to read export tables from; without *modules* no image events.
    """
    given = list(sources)
    names = {
        field.name
        for field in FIELDS
        if given and all(field.availability(source) is Availability.NO for source in given)
    }
    if not functions or not modules:
        names.add("StartFunction")
    if not modules:
        names |= {"StartModule", "StartModuleOffset"}
    return frozenset(names)
