"""A remote thread with its context: the input of every output format.

Unknown fields are None; `Detection.absent` gives the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from etwdetect.core.rule import RemoteThread

Detector = Literal["etw", "driver", "sysmon"]

_Class = TypeVar("_Class")


@dataclass_transform(frozen_default=True)
def _record(cls: type[_Class]) -> type[_Class]:
    """Make a dataclass that type checkers hold frozen: to be so at run time takes eight times as long."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


@_record
class Process:
    r"""What is known about one process.

    *start_time* is a FILETIME. *user* is a name such as ``NT AUTHORITY\\SYSTEM``, or the SID in text form if
    no name is known. *guid* has the format of Sysmon's ProcessGuid, without braces.
    """

    pid: int
    image: str | None = None
    command_line: str | None = None
    parent_pid: int | None = None
    parent_image: str | None = None
    parent_command_line: str | None = None
    user: str | None = None
    session_id: int | None = None
    start_time: int | None = None
    guid: str | None = None


@_record
class Start:
    """Where a thread starts: the path of the target's *module*, the *offset* in it, and the *function*.

    *function* is known only if the module's export table has one at exactly this offset. *pool* says that
    thread-pool workers, which System creates, start at this address too.
    """

    module: str | None = None
    offset: int | None = None
    function: str | None = None
    pool: bool = False


@_record
class Calls:
    """The call stack of the thread that created another one, the innermost call first.

    *trace* are the frames of the user part and *kernel* those of the kernel part, in the form of Sysmon's
    CallTrace; *summary* are the user part's modules, in the form of Elastic's call_stack_summary; *symbols* are
    its frames by the nearest function below, where image files are at hand. *runtime* is a module of the creator's
    process that makes code at run time, if it has one.
    """

    trace: str | None = None
    kernel: str | None = None
    summary: str | None = None
    symbols: str | None = None
    runtime: str | None = None


class FiredRule(NamedTuple):
    """What is kept of a Sigma rule that fired, beside its *title*; what the rule does not have is empty.

    *level* is one of Sigma's; *tags* are as in the rule: ``attack.t1055.001``.
    """

    title: str
    id: str = ""
    level: str = ""
    tags: tuple[str, ...] = ()
    references: tuple[str, ...] = ()


class UnknownField(NamedTuple):
    """A field of a saved record that this version does not know: its JSON value, and the known field before it."""

    after: str
    name: str
    value: str


class SavedForm(NamedTuple):
    """What a saved record has beside its detection, so that it can be written again as it was read."""

    version: int
    record_id: str | None
    unknown: tuple[UnknownField, ...]


@_record
class Detection:
    """One remote thread, its detector, both processes, the thread's start, and its kind.

    *pointer_size* is that of the machine, 4 or 8 bytes; *host* is its name. *trace* is the name of the recorded
    trace, *trace_sha256* the SHA-256 of its bytes in hex digits. *reason* says why *kind* was chosen.
    *container* is the id of the container that the source runs in. *calls* is the creating thread's call stack.
    *assumed_drive* is the drive that paths have although nothing tells that it is their volume's, and that volume.
    *absent* has pairs (missing field, reason), such as ``("StartFunction", "no file")``. *sigma* has the titles of
    the Sigma rules that fired, *sigma_rules* what else they say of themselves. *techniques* are ids of MITRE
    ATT&CK, of the kind and of the rules. *count* is the number of remote threads folded into this one, itself
    included; the last of them was at the FILETIME *last_time*. *saved* is the form of the record that it was read
    from, None where it would be written in that form anyway. *rule_name* and *prior_access* (pairs of name and
    text) are from Sysmon.
    """

    thread: RemoteThread
    detector: Detector
    source: Process
    target: Process
    start: Start = Start()
    pointer_size: int = 8
    host: str | None = None
    kind: str | None = None
    reason: str | None = None
    severity: str | None = None
    absent: tuple[tuple[str, str], ...] = ()
    sigma: tuple[str, ...] = ()
    count: int = 1
    last_time: int | None = None
    assumed_drive: str | None = None
    trace: str | None = None
    trace_sha256: str | None = None
    saved: SavedForm | None = None
    rule_name: str | None = None
    prior_access: tuple[tuple[str, str], ...] = ()
    container: str | None = None
    calls: Calls = Calls()
    sigma_rules: tuple[FiredRule, ...] = ()
    techniques: tuple[str, ...] = ()
