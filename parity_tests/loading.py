"""Reads scenario files: TOML in, checked scenarios out, or a sentence that says which step is wrong and how."""

from __future__ import annotations

import re
import tomllib
from dataclasses import MISSING, fields
from datetime import time
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core.rule import DEFAULT_BOUND
from parity_tests.checkout import ROOT
from parity_tests.errors import NoSuchScenarioError, ScenarioError
from parity_tests.scenario import IDLE, KINDS, SYSTEM, BookDriver, Expected, Machine, Scenario, ScenarioProcess
from parity_tests.steps import STEPS, ExitThread, Repeat, Step, ThreadRef, parse_duration
from parity_tests.timeline import expand

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from parity_tests.processes import Processes

DEFAULT_FOLDER: Final = ROOT / "parity_tests" / "scenarios"

_ACTIONS: Final = {step.action: step for step in STEPS}
_MOST_ID: Final = 0xFFFF_FFFE
_MOST_TIMES: Final = 100_000


def find(folder: Path | None, names: Sequence[str] = ()) -> list[Scenario]:
    """Return the scenarios called *names* in *folder* (by default the checkout's), or all of them, by name.

    Raises NoSuchScenarioError where folder or name is not there, and ScenarioError for a wrong file.
    """
    folder = folder or DEFAULT_FOLDER
    if not folder.is_dir():
        raise NoSuchScenarioError(
            f"there are no scenarios in {folder}; say where they are with --scenarios FOLDER"
        )
    paths = {path.stem: path for path in sorted(folder.glob("*.toml"))}
    if not paths:
        raise NoSuchScenarioError(f"{folder} has no scenario (.toml)")
    for name in names:
        if name not in paths:
            raise NoSuchScenarioError(f"there is no scenario {name!r}; `etwdetect parity scenarios list` has all")
    return [load(paths[name]) for name in names or paths]


def load(path: Path) -> Scenario:
    """Return the scenario in the file at *path*; ScenarioError where it is not right."""
    try:
        return parse(path.read_text("utf-8"), path.stem, path)
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"cannot be read: {error}", name=path.name) from error


def parse(text: str, name: str, path: Path | None = None) -> Scenario:
    """Return the scenario *name* from the *text* of its file; ScenarioError where it is not right."""
    file = path.name if path else name
    try:
        scenario = _scenario(tomllib.loads(text), name, path)
        _check_names(
            scenario, expand(scenario).processes
        )  # whether the timeline can happen, and its expectations be met
    except ValueError as error:  # a TOMLDecodeError, or Python's refusal of a number of thousands of digits
        raise ScenarioError(f"is no TOML: {error}", name=file) from error
    except RecursionError as error:
        raise ScenarioError("has lists in lists in lists", name=file) from error
    except ScenarioError as error:
        raise ScenarioError(error.what, error.step, file) from error
    return scenario


def _check_names(scenario: Scenario, processes: Processes) -> None:
    reports = scenario.book_driver.reports if scenario.book_driver else ()
    for what, entries in (("expect", scenario.expect), ("book_driver, reports", reports)):
        for number, entry in enumerate(entries, 1):
            try:
                for creator, target, thread in entry.each():
                    processes.pid_of(target)
                    processes.tid_of(creator)
                    if thread is not None:
                        processes.tid_of(ThreadRef(target, thread))
            except ScenarioError as error:
                raise ScenarioError(error.what, f"{what} {number}") from error


def _scenario(table: Mapping[str, Any], name: str, path: Path | None) -> Scenario:
    known = "title", "why", "begins", "machine", "processes", "steps", "expect", "book_driver"
    _no_others(table, known, "")
    steps = tuple(_step(entry, f"step {number}") for number, entry in enumerate(_list(table, "steps"), 1))
    if not steps:
        raise ScenarioError("has no steps")
    begins = table.get("begins", time(13, 8))
    if not isinstance(begins, time):
        raise ScenarioError(f"begins = {begins!r} is no time of day such as 13:08:15.280")
    return Scenario(
        name=name,
        title=_text(table, "title", ""),
        why=" ".join(_text(table, "why", "").split()),
        steps=steps,
        expect=_expectations(table, "expect", ""),
        processes=_processes(_table(table, "processes", "")),
        machine=_machine(_table(table, "machine", "")),
        begins=begins,
        book_driver=_book_driver(table),
        path=path,
    )


def _machine(table: Mapping[str, Any]) -> Machine:
    where = "machine"
    _no_others(table, ("cpus", "table_bound", "clock_tick"), where)
    return Machine(
        cpus=_number(table.get("cpus", 1), 1, 256, where),
        table_bound=_number(table.get("table_bound", DEFAULT_BOUND), 1, 1 << 20, where),
        clock_tick=_duration(table["clock_tick"], where) if "clock_tick" in table else 1,
    )


def _processes(table: Mapping[str, Any]) -> dict[str, ScenarioProcess]:
    processes = {
        SYSTEM: ScenarioProcess(name=SYSTEM, image="System", running=True, pid=4, threads={"main": 8}),
        IDLE: ScenarioProcess(name=IDLE, image="Idle", running=True, pid=0, threads={"main": 0}),
    }
    for name, entry in table.items():
        where = f"process {name}"
        if name in processes:
            raise ScenarioError(f"{name} is there always, with the id {processes[name].pid}", where)
        if not isinstance(entry, dict):
            raise ScenarioError("is no table such as { running = true }", where)
        _no_others(entry, ("image", "running", "pid", "threads", "images"), where)
        threads = entry.get("threads", {})
        if not isinstance(threads, (list, dict)) or not all(map(_is_name, threads)):
            raise ScenarioError("threads is no list of names, or table of names with ids", where)
        if isinstance(threads, list):
            threads = dict.fromkeys(threads)
        processes[name] = ScenarioProcess(
            name=name,
            image=_name(entry.get("image", f"{name}.exe"), where),
            running=_flag(entry.get("running", False), where),
            pid=_id(entry["pid"], where) if "pid" in entry else None,
            threads={thread: None if tid is None else _id(tid, where) for thread, tid in threads.items()},
            images=tuple(_name(image, where) for image in _list(entry, "images", required=False)),
        )
    return processes


def _step(entry: object, where: str) -> Step:
    if not isinstance(entry, dict):
        raise ScenarioError("is no table", where)
    found = [key for key in entry if key in _ACTIONS]
    if len(found) != 1:
        have = ", ".join(map(str, entry)) or "nothing"
        raise ScenarioError(f"needs one of {', '.join(_ACTIONS)}, and has {have}", where)
    action = found[0]
    where = f"{where} ({action})"
    kind = _ACTIONS[action]
    values = {key: value for key, value in entry.items() if key != action}
    values |= _main_value(kind, entry[action], where)
    known = {field.name: field for field in fields(kind)}
    _no_others(values, known, where)
    for name, field in known.items():
        if field.default is MISSING and name not in values:
            if name != "by" or action != "create_thread":
                raise ScenarioError(f"does not say {name}", where)
            values[name] = values["process"]
    arguments: dict[str, Any] = {key: _argument(key, value, where) for key, value in values.items()}
    return kind(**arguments)


def _main_value(kind: type[Step], value: object, where: str) -> dict[str, Any]:
    """Return the arguments that the value of the action itself stands for."""
    if kind is Repeat:
        return {"times": value}
    if kind is ExitThread:
        process, thread = _thread_ref(value, where)
        return {"process": process, "thread": thread}
    return {"process": value}


def _argument(key: str, value: object, where: str) -> object:
    if key == "steps" and isinstance(value, list) and value:
        return tuple(_step(entry, f"{where}, step {number}") for number, entry in enumerate(value, 1))
    if key not in _PARSERS:
        raise ScenarioError(f"{key} = {value!r} makes no sense", where)
    return _PARSERS[key](value, where)


def _expectations(table: Mapping[str, Any], key: str, where: str) -> tuple[Expected, ...]:
    entries = enumerate(_list(table, key), 1)
    return tuple(_expected(entry, f"{where}{key} {number}") for number, entry in entries)


def _expected(entry: object, where: str) -> Expected:
    if not isinstance(entry, dict):
        raise ScenarioError("is no table", where)
    _no_others(entry, ("thread_in", "made_by", "kind", "evidence", "only", "times"), where)
    process, _, thread = _text(entry, "thread_in", where).partition("/")
    kind = entry.get("kind")
    if kind is not None and kind not in KINDS:
        raise ScenarioError(f"{kind!r} is none of the kinds {', '.join(KINDS)}", where)
    only = entry.get("only")
    if only not in (None, "etw", "driver"):
        raise ScenarioError(f"only = {only!r} is neither 'etw' nor 'driver'", where)
    return Expected(
        thread_in=process,
        thread=thread or None,
        made_by=_thread_ref(entry.get("made_by"), where),
        kind=kind,
        evidence=tuple(_name(word, where) for word in _list(entry, "evidence", required=False)),
        only=only,
        times=_number(entry.get("times", 1), 1, _MOST_TIMES, where),
    )


def _book_driver(table: Mapping[str, Any]) -> BookDriver | None:
    if "book_driver" not in table:
        return None
    entry = _table(table, "book_driver", "")
    _no_others(entry, ("why", "reports"), "book_driver")
    why = " ".join(_text(entry, "why", "book_driver").split())
    return BookDriver(why=why, reports=_expectations(entry, "reports", "book_driver, "))


def _no_others(table: Mapping[str, Any], known: Collection[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise ScenarioError(f"{key!r} is none of {', '.join(known)}", where)


def _table(table: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise ScenarioError(f"{key} is no table", where)
    return value


def _list(table: Mapping[str, Any], key: str, *, required: bool = True) -> list[Any]:
    if key not in table and required:
        raise ScenarioError(f"{key} is missing")
    value = table.get(key, [])
    if not isinstance(value, list):
        raise ScenarioError(f"{key} is no list")
    return value


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ScenarioError(f"{key} is missing, or no text", where)
    return value


def _is_name(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[\w .!:{}+-]{1,100}", value) is not None


def _name(value: object, where: str) -> str:
    if not isinstance(value, str) or not _is_name(value):
        raise ScenarioError(f"{value!r} is no name", where)
    return value


def _thread_ref(value: object, where: str) -> ThreadRef:
    parts = value.split("/") if isinstance(value, str) else []
    if not (1 <= len(parts) <= 2 and all(map(_is_name, parts))):
        raise ScenarioError(f"{value!r} is no thread such as 'notepad' or 'notepad/worker'", where)
    return ThreadRef(*parts)


def _duration(value: object, where: str) -> int:
    try:
        return parse_duration(str(value))
    except ValueError as error:
        raise ScenarioError(str(error), where) from error


def _number(value: object, least: int, most: int, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ScenarioError(f"{value!r} is no number from {least} to {most:,}", where)
    return value


def _id(value: object, where: str) -> int:
    return _number(value, 1, _MOST_ID, where)


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise ScenarioError(f"{value!r} is neither true nor false", where)
    return value


def _known_or_not(value: object, where: str) -> str:
    if value not in ("known", "unknown"):
        raise ScenarioError(f"etw_creator = {value!r} is neither 'known' nor 'unknown'", where)
    return str(value)


_PARSERS: Final[Mapping[str, Callable[[object, str], object]]] = {
    "process": _name,
    "thread": _name,
    "by": _thread_ref,
    "parent": _name,
    "named": _name,
    "at": _name,
    "tid": _id,
    "after": _duration,
    "every": _duration,
    "first_thread_after": _duration,
    "cpu": lambda value, where: _number(value, 0, 255, where),
    "thread_cpu": lambda value, where: _number(value, 0, 255, where),
    "times": lambda value, where: _number(value, 1, _MOST_TIMES, where),
    "invasive": _flag,
    "lost_by_etw": _flag,
    "etw_creator": _known_or_not,
}
"""By its name: how an argument of a step is read. The same name means the same in every step."""
