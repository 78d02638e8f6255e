"""Loads the Sigma rules that are about remote threads from files."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError as PySigmaError
from sigma.policy import SigmaPolicy
from sigma.rule import SigmaRule

from etwdetect.results.sigma.errors import NoRuleLoadedError, UnsupportedRuleError
from etwdetect.results.sigma.regex import QuietRe2
from etwdetect.results.sigma.sql import SqlCondition, compile_condition
from etwdetect.results.sigma.table import RecordTable

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from sigma.conditions import ConditionType

CATEGORY: Final = "create_remote_thread"
MAX_SIZE: Final = 256 << 10
"""256 KiB; the 15 public rules have at most 5 KB. Hostile YAML of this size takes seconds, not minutes."""

_SUFFIXES: Final = frozenset((".yml", ".yaml"))
_SERVICES: Final = frozenset((None, "sysmon"))


@dataclass(frozen=True, eq=False)
class LoadedRule:
    """A rule, by its *title*, from a *file*: it fires when one of its *conditions* is true.

    *trees* has the conditions as pySigma parsed them.
    """

    title: str
    file: Path
    conditions: tuple[SqlCondition, ...]
    trees: tuple[ConditionType, ...]


class RuleSet:
    """The rules in the files and directories *paths*, and which of them fire on a record.

    *broken* has each file or folder that could not be used, with the reason; *others* counts the files without a
    rule for remote threads. Raises NoRuleLoadedError where no rule is left.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.rules: list[LoadedRule] = []
        self.broken: list[tuple[Path, str]] = []
        self.others = 0
        for file in self._files(paths):
            self._load(file)
        if not self.rules:
            raise NoRuleLoadedError(self._why_none())
        columns = {column for rule in self.rules for condition in rule.conditions for column in condition.columns}
        self._table = RecordTable(columns)

    def fired(self, records: Sequence[Mapping[str, object]]) -> list[tuple[str, ...]]:
        """Return for each of *records*, as fields by name, the titles of the rules that fire, in their order."""
        self._table.fill(records)
        titles: list[dict[str, None]] = [{} for _ in records]
        for rule in self.rules:
            for condition in rule.conditions:
                for number in self._table.matching(condition):
                    titles[number][rule.title] = None
        return [tuple(each) for each in titles]

    def _files(self, paths: Iterable[Path]) -> Iterator[Path]:
        """Yield each file once; those of a directory in order of their names."""
        seen = set()
        for path in paths:
            for file in self._files_in(path) if path.is_dir() else [path]:
                real = os.path.realpath(file)
                if real not in seen:
                    seen.add(real)
                    yield file

    def _files_in(self, directory: Path) -> list[Path]:
        def complain(error: OSError) -> None:
            self.broken.append((Path(error.filename), error.strerror or str(error)))

        walk = os.walk(directory, onerror=complain)
        return sorted(
            file for here, folders, files in walk for name in folders + files
            if (file := Path(here, name)).suffix in _SUFFIXES
        )  # fmt: skip

    def _load(self, file: Path) -> None:
        try:
            rules = list(_rules_in(file))
        except OSError as error:
            self.broken.append((file, error.strerror or str(error)))
        except RecursionError:
            self.broken.append((file, "nested too deeply"))
        except Exception as error:  # noqa: BLE001 (YAML and pySigma may raise anything for an invalid rule)
            self.broken.append((file, _reason(error)))
        else:
            self.rules += rules
            self.others += not rules

    def _why_none(self) -> str:
        broken = "".join(f"; {file}: {why}" for file, why in self.broken)
        return f"no Sigma rule of the category {CATEGORY} loaded ({self.others} files hold none){broken}"


def _rules_in(file: Path) -> Iterator[LoadedRule]:
    with file.open("rb") as stream:
        content = stream.read(MAX_SIZE + 1)
    if len(content) > MAX_SIZE:
        raise UnsupportedRuleError(f"longer than {MAX_SIZE >> 10} KiB")
    if CATEGORY.encode() not in content:
        return
    documents = list(yaml.load_all(content, _YamlLoader))
    if not all(isinstance(document, dict | None) for document in documents):
        raise UnsupportedRuleError("not a mapping of names to values, as a Sigma rule must be")
    collection = SigmaCollection.from_dicts(
        documents, resolve_references=False, collect_filters=True, policy=SigmaPolicy(regex_engine=QuietRe2())
    )
    if collection.filters:
        raise UnsupportedRuleError("Sigma filters are not supported")
    for rule in collection.rules:
        if not isinstance(rule, SigmaRule):
            raise UnsupportedRuleError("correlations of several records are not supported")
        source = rule.logsource
        if source.category == CATEGORY and source.product in {None, "windows"} and source.service in _SERVICES:
            yield _compiled(rule, file)


def _compiled(rule: SigmaRule, file: Path) -> LoadedRule:
    trees = tuple(condition.parsed for condition in rule.detection.parsed_condition)
    conditions = tuple(map(compile_condition, trees))
    for condition in conditions:
        _try(condition)
    return LoadedRule(rule.title, file, conditions, tuple(tree for tree in trees if tree is not None))


def _try(condition: SqlCondition) -> None:
    """Run *condition* in SQLite over a record with text in each field. Raises UnsupportedRuleError."""
    table = RecordTable(condition.columns)
    names = {column.field.name for column in condition.columns if column.field is not None}
    table.fill([dict.fromkeys(names, "text")])
    try:
        table.matching(condition)
    except (sqlite3.Error, ValueError) as error:
        raise UnsupportedRuleError(f"SQLite refuses it: {error}") from error


def _reason(error: Exception) -> str:
    """Return the text of *error* in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, (yaml.YAMLError, PySigmaError, UnsupportedRuleError)) and text:
        return text
    return f"not a valid Sigma rule ({type(error).__name__}: {text})"


class _YamlLoader(yaml.SafeLoader):
    """PyYAML's safe loader in Python, which also rejects duplicate names.

    The loader in C crashes the process on deeply nested input.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        names: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in names:
                twice = f"{key.value!r} is twice in one mapping"
                raise yaml.constructor.ConstructorError(None, None, twice, key.start_mark)
            names.add(key.value)
        return super().construct_mapping(node, deep)
