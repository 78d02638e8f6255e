"""Reads scenario files (TOML). Errors name the file and the step, what is wrong and what would be right."""

from __future__ import annotations

import re
import reprlib
from dataclasses import MISSING, fields
from datetime import time
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core import toml
from etwdetect.enrich.call_fields import CALL_FIELDS
from etwdetect.enrich.kind_rules import SEVERITIES
from parity_tests.checkout import ROOT
from parity_tests.errors import NoSuchScenarioError, ScenarioError
from parity_tests.scenario import IDLE, KINDS, SYSTEM, Expected, Machine, OtherReports, Scenario, ScenarioProcess
from parity_tests.steps import STEPS, CreateThread, ExitThread, Repeat, Step, ThreadRef, parse_duration
from parity_tests.timeline import MOST_EVENTS, expand

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from pathlib import Path

    from parity_tests.processes import Processes

DEFAULT_FOLDER: Final = ROOT / "parity_tests" / "scenarios"

_ACTIONS: Final = {step.action: step for step in STEPS}
_DEFAULTS: Final[dict[str, Any]] = {"begins": time(13, 8), "machine": {}, "processes": {}}


def find(folder: Path | None, names: Sequence[str] = ()) -> list[Scenario]:
    """Return the scenarios called *names* in *folder* (by default our own), or all of them, by name.

    Raises NoSuchScenarioError if the folder or a name does not exist, and ScenarioError for an invalid file.
    """
    folder = folder or DEFAULT_FOLDER
    if not folder.is_dir():
        raise NoSuchScenarioError(f"the folder {folder} does not exist; use --scenarios FOLDER")
    paths = {path.stem: path for path in sorted(folder.glob("*.toml"))}
    if not paths:
        raise NoSuchScenarioError(f"{folder} has no scenario (.toml)")
    for name in names:
        if name not in paths:
            raise NoSuchScenarioError(f"there is no scenario {name!r}; see `etwdetect parity scenarios list`")
    return [load(paths[name]) for name in names or paths]


def load(path: Path) -> Scenario:
    """Return the scenario in the file at *path*. Raises ScenarioError."""
    try:
        text = toml.read(path)
    except OSError as error:
        raise ScenarioError(f"cannot be read: {error.strerror}", name=path.name) from error
    except ValueError as error:
        raise ScenarioError(f"cannot be read: {error}", name=path.name) from error
    return parse(text, path.stem, path)


def parse(text: str, name: str, path: Path | None = None) -> Scenario:
    """Return the scenario *name* from the *text* of its file. Raises ScenarioError."""
    file = path.name if path else name
    try:
        values = _values(Scenario, _DEFAULTS | _document(text), "", without=("name", "path"))
        scenario = Scenario(name=name, path=path, **values)
        _check_names(scenario, expand(scenario).processes)  # expanding checks that each step is possible
    except ScenarioError as error:
        raise ScenarioError(error.what, error.step, file) from error
    return scenario


def _document(text: str) -> dict[str, Any]:
    try:
        return toml.parse(text)
    except ValueError as error:
        raise ScenarioError(str(error)) from error


def _check_names(scenario: Scenario, processes: Processes) -> None:
    """Raise ScenarioError if an expectation names a process or thread that does not exist."""
    others = {"book_driver": scenario.book_driver, "sysmon": scenario.sysmon}
    reports = {f"{name}, reports": other.reports for name, other in others.items() if other}
    every = [entry for entries in (scenario.expect, *reports.values()) for entry in entries]
    if sum(entry.times for entry in every) > MOST_EVENTS:
        raise ScenarioError(f"more than {MOST_EVENTS:,} remote threads are expected")
    for what, entries in (("expect", scenario.expect), *reports.items()):
        for number, entry in enumerate(entries, 1):
            try:
                for creator, target, thread in entry.each():
                    processes.pid_of(target)
                    processes.tid_of(creator)
                    if thread is not None:
                        processes.tid_of(ThreadRef(target, thread))
            except ScenarioError as error:
                raise ScenarioError(error.what, f"{what} {number}") from error


def _values(kind: type[Any], table: object, where: str, without: Container[str] = ()) -> dict[str, Any]:
    """Return the arguments of the dataclass *kind* from the keys of *table*, each read by _NESTED or _READERS.

    *without* are the fields of *kind* that are no keys.
    """
    if not isinstance(table, dict):
        raise ScenarioError("must be a table such as { key = value }", where)
    known = {field.name: field for field in fields(kind) if field.name not in without}
    for key in table:
        if key not in known:
            raise ScenarioError(f"{key!r} is not a key here; use {', '.join(known)}", where)
    required = (name for name, field in known.items() if field.default is field.default_factory is MISSING)
    missing = [name for name in required if name not in table]
    if missing:
        raise ScenarioError(f"missing: {', '.join(missing)}", where)
    return {key: _value(key, value, where) for key, value in table.items()}


def _value(key: str, value: object, where: str) -> object:
    try:
        return _NESTED[key](value, where) if key in _NESTED else _READERS[key](value)
    except ValueError as error:
        raise ScenarioError(f"{key} = {reprlib.repr(value)} must be {error}", where) from error


def _steps(value: object, where: str) -> tuple[Step, ...]:
    prefix = f"{where}, step" if where else "step"
    return tuple(_step(entry, f"{prefix} {number}") for number, entry in enumerate(_some(value), 1))


def _step(entry: object, where: str) -> Step:
    found = [key for key in entry if key in _ACTIONS] if isinstance(entry, dict) else []
    if not isinstance(entry, dict) or len(found) != 1:
        raise ScenarioError(f"must be a table with one of {', '.join(_ACTIONS)}", where)
    action = found[0]
    where = f"{where} ({action})"
    kind = _ACTIONS[action]
    table = {key: value for key, value in entry.items() if key != action}
    table |= _main_value(kind, entry[action], where)
    if kind is CreateThread:
        table.setdefault("by", table["process"])
    step: Step = kind(**_values(kind, table, where))
    return step


def _main_value(kind: type[Step], value: object, where: str) -> dict[str, Any]:
    """Return the keys that the value of the action itself stands for."""
    if kind is Repeat:
        return {"times": value}
    if kind is ExitThread:
        thread: ThreadRef = _value("by", value, where)  # type: ignore[assignment]
        return thread._asdict()
    return {"process": value}


def _expectations(value: object, where: str) -> tuple[Expected, ...]:
    return tuple(_expected(entry, f"{where} {number}") for number, entry in enumerate(_list(value), 1))


def _expected(entry: object, where: str) -> Expected:
    values = _values(Expected, entry, where, without=("thread",))
    process, _, thread = values.pop("thread_in").partition("/")
    return Expected(thread_in=process, thread=thread or None, **values)


def _other_reports(name: str) -> Callable[[object, str], OtherReports]:
    return lambda value, _: OtherReports(**_values(OtherReports, value, name))


def _machine(value: object, _: str) -> Machine:
    return Machine(**_values(Machine, value, "machine"))


def _processes(value: object, _: str) -> dict[str, ScenarioProcess]:
    processes = {
        SYSTEM: ScenarioProcess(name=SYSTEM, image="System", running=True, pid=4, threads={"main": 8}),
        IDLE: ScenarioProcess(name=IDLE, image="Idle", running=True, pid=0, threads={"main": 0}),
    }
    if not isinstance(value, dict):
        raise ValueError("a table of processes")  # noqa: TRY004 (the caller adds the key)
    for name, entry in value.items():
        where = f"process {name}"
        if name in processes:
            raise ScenarioError(f"{name} always exists, with the id {processes[name].pid}", where)
        table = {"image": f"{name}.exe"} | entry if isinstance(entry, dict) else entry
        values = _values(ScenarioProcess, table, where, without=("name",))
        processes[name] = ScenarioProcess(name=name, **values)
    return processes


# Each returns the value that it is given as the scenario has it, or raises ValueError with what it must be.


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list")  # noqa: TRY004
    return value


def _some(value: object) -> list[Any]:
    if not _list(value):
        raise ValueError("a list of at least one step")
    return _list(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("text")
    return " ".join(value.split())


def _name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w .!:{}+-]{1,100}", value):
        raise ValueError("a name of at most 100 letters, digits, blanks and . ! : { } + - _")
    return value


def _names(value: object) -> tuple[str, ...]:
    try:
        return tuple(map(_name, _list(value)))
    except ValueError:
        raise ValueError("a list of names") from None


def _thread(value: object) -> ThreadRef:
    parts = value.split("/") if isinstance(value, str) else []
    try:
        return ThreadRef(*map(_name, parts))
    except (TypeError, ValueError):
        raise ValueError("a thread such as 'notepad' or 'notepad/worker'") from None


def _threads(value: object) -> dict[str, int | None]:
    try:
        if isinstance(value, dict):
            return {_name(name): _id(tid) for name, tid in value.items()}
        return dict.fromkeys(_names(value))
    except ValueError:
        raise ValueError("a list of names, or a table of names with ids such as { main = 104 }") from None


def _duration(value: object) -> int:
    try:
        return parse_duration(str(value))
    except ValueError:
        raise ValueError("a duration such as '2 s', '1.5 ms', '50 us' or '3 min'") from None


def _time_of_day(value: object) -> time:
    if not isinstance(value, time):
        raise ValueError("a time of day such as 13:08:15.280")  # noqa: TRY004
    return value


def _number(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"a number from {least} to {most:,}")
        return value

    return read


def _stack(value: object) -> object:
    """Read the calls of a step, or what an expectation says of them."""
    if not isinstance(value, dict):
        return _names(value)
    if not all(name in CALL_FIELDS and isinstance(text, str) for name, text in value.items()):
        raise ValueError(
            "a list of functions, or a table of fields of a call stack, such as { CallNested = 'yes' }"
        )
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004
    return value


def _one_of(*choices: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"one of {', '.join(map(repr, choices))}")
        return value

    return read


_id: Final = _number(1, 0xFFFF_FFFE)
_cpu: Final = _number(0, 255)

_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "after": _duration,
    "at": _name,
    "begins": _time_of_day,
    "by": _thread,
    "clock_tick": _duration,
    "cpu": _cpu,
    "cpus": _number(1, 256),
    "etw_creator": _one_of("known", "unknown"),
    "every": _duration,
    "evidence": _names,
    "first_thread_after": _duration,
    "image": _name,
    "images": _names,
    "invasive": _flag,
    "kind": _one_of(*KINDS),
    "lost_by_etw": _flag,
    "made_by": _thread,
    "named": _name,
    "nested": _flag,
    "only": _one_of("etw", "driver"),
    "parent": _name,
    "pid": _id,
    "process": _name,
    "running": _flag,
    "severity": _one_of(*SEVERITIES),
    "stack": _stack,
    "table_bound": _number(1, 1 << 20),
    "thread": _name,
    "thread_cpu": _cpu,
    "thread_in": lambda value: "/".join(_thread(value)) if "/" in str(value) else _name(value),
    "threads": _threads,
    "tid": _id,
    "times": _number(1, 100_000),
    "title": _text,
    "why": _text,
}
"""By key; a key means the same wherever it is allowed."""

_NESTED: Final[Mapping[str, Callable[[object, str], object]]] = {
    "book_driver": _other_reports("book_driver"),
    "expect": lambda value, _: _expectations(value, "expect"),
    "machine": _machine,
    "processes": _processes,
    "reports": lambda value, where: _expectations(value, f"{where}, reports"),
    "steps": _steps,
    "sysmon": _other_reports("sysmon"),
}
"""By key: values that have keys of their own; the second argument says where they are."""
