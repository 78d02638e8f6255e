"""Loads the Sigma rules that are about remote threads from files."""

from __future__ import annotations

import os
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaError as PySigmaError
from sigma.policy import SigmaPolicy
from sigma.rule import SigmaLevel, SigmaRule
from sigma.rule.detection import EmptySigmaDetections
from sigma.rule.logsource import EmptyLogSource

from etwdetect.core.files import read_file
from etwdetect.enrich.detection import FiredRule
from etwdetect.enrich.kind_rules import SEVERITIES
from etwdetect.results.sigma.errors import NoRuleLoadedError, UnsupportedRuleError
from etwdetect.results.sigma.fields import field_called
from etwdetect.results.sigma.regex import QuietRe2
from etwdetect.results.sigma.risks import asked_fields, asked_paths, never_fires
from etwdetect.results.sigma.sql import SqlCondition, compile_condition
from etwdetect.results.sigma.table import RecordTable

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from sigma.conditions import ConditionType
    from sigma.rule import SigmaLogSource

CATEGORY: Final = "create_remote_thread"
MAX_SIZE: Final = 256 << 10
"""256 KiB; the 15 public rules have at most 5 KB. Hostile YAML of this size takes seconds, not minutes."""

_SUFFIXES: Final = frozenset((".yml", ".yaml"))
_MENTION: Final = re.compile(rb"create_remote_thread|service[\"']?\s*:\s*[\"']?sysmon", re.IGNORECASE)
"""What a file with a rule for remote threads has; the YAML of all others of a large folder need not be parsed."""


@dataclass(frozen=True, eq=False)
class LoadedRule:
    """A rule from a *file*: it fires when one of its *conditions* is true.

    *told* is what records keep of it, *trees* the conditions as pySigma parsed them, *paths* the fields and the
    patterns of programs and modules in them. *oddities* are what is wrong with its metadata, without which it is
    used.
    """

    told: FiredRule
    file: Path
    conditions: tuple[SqlCondition, ...]
    trees: tuple[ConditionType, ...]
    paths: tuple[tuple[str, str], ...]
    oddities: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The rule's title."""
        return self.told.title


class RuleSet:
    """The rules in the files and directories *paths*, and which of them fire on a record.

    *broken* has each file, folder or rule that could not be used, with the reason; *others* counts the files
    without a rule for remote threads, *below* the rules without a level of *min_level* or above. Raises
    NoRuleLoadedError where no rule is left.
    """

    def __init__(self, paths: Iterable[Path], min_level: str | None = None) -> None:
        self.rules: list[LoadedRule] = []
        self.broken: list[tuple[Path, str]] = []
        self.others = 0
        self.below = 0
        self._levels = None if min_level is None else SEVERITIES[: SEVERITIES.index(min_level) + 1]
        for file in self._files(paths):
            self._load(file)
        if not self.rules:
            raise NoRuleLoadedError(self._why_none())
        columns = {column for rule in self.rules for condition in rule.conditions for column in condition.columns}
        self._table = RecordTable(columns)

    def fired(self, records: Sequence[Mapping[str, object]]) -> list[tuple[FiredRule, ...]]:
        """Return for each of *records*, as fields by name, the rules that fire, in their order."""
        self._table.fill(records)
        fired: list[dict[FiredRule, None]] = [{} for _ in records]
        for rule in self.rules:
            for condition in rule.conditions:
                for number in self._table.matching(condition):
                    fired[number][rule.told] = None
        return [tuple(each) for each in fired]

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
            found = list(_rules_in(file))
        except OSError as error:
            self.broken.append((file, error.strerror or str(error)))
        except RecursionError:
            self.broken.append((file, "nested too deeply"))
        except Exception as error:  # noqa: BLE001 (YAML and pySigma may raise anything for an invalid rule)
            self.broken.append((file, _reason(error)))
        else:
            self.others += not found
            for rule in found:
                self._add(rule, file)

    def _add(self, rule: LoadedRule | str, file: Path) -> None:
        if isinstance(rule, str):
            self.broken.append((file, rule))
        elif self._levels is not None and rule.told.level not in self._levels:
            self.below += 1
        else:
            self.rules.append(rule)

    def _why_none(self) -> str:
        below = f", {self.below} rules are below the level" if self.below else ""
        broken = "".join(f"; {file}: {why}" for file, why in self.broken)
        return f"no Sigma rule of the category {CATEGORY} loaded ({self.others} files hold none{below}){broken}"


def _rules_in(file: Path) -> Iterator[LoadedRule | str]:
    """Yield each rule of *file* that is for remote threads, or the reason why it can't be used."""
    content = read_file(file, MAX_SIZE + 1)
    if len(content) > MAX_SIZE:
        raise UnsupportedRuleError(f"longer than {MAX_SIZE >> 10} KiB")
    if not _MENTION.search(content):
        return
    documents = list(yaml.load_all(content, _YamlLoader))
    if not all(isinstance(document, dict | None) for document in documents):
        raise UnsupportedRuleError("not a mapping of names to values, as a Sigma rule must be")
    rules = _parsed(documents)
    for rule in rules:
        try:
            loaded = _loaded(rule, file)
        except Exception as error:  # noqa: BLE001 (as above)
            named = f"the rule {getattr(rule, 'title', None)!r}: " if len(rules) > 1 else ""
            yield f"{named}{_reason(error)}"
        else:
            if loaded is not None:
                yield loaded


def _parsed(documents: list[Any]) -> Sequence[object]:
    """Return what pySigma makes of the *documents* of a file; what is wrong with a rule stays with it."""
    collection = SigmaCollection.from_dicts(
        documents,
        collect_errors=True,
        resolve_references=False,
        collect_filters=True,
        policy=SigmaPolicy(regex_engine=QuietRe2()),
    )
    of_rules = [error for rule in collection.rules for error in rule.errors]
    for error in collection.errors:
        if error not in of_rules:
            raise error
    if collection.filters:
        raise UnsupportedRuleError("Sigma filters are not supported")
    return collection.rules


def _loaded(rule: object, file: Path) -> LoadedRule | None:
    """Return *rule*, ready for use; None where it is not for remote threads. Raises what makes it unusable."""
    if not isinstance(rule, SigmaRule):
        raise UnsupportedRuleError("correlations of several records are not supported")
    if not isinstance(rule.logsource, EmptyLogSource) and not _is_for_remote_threads(rule.logsource):
        return None
    if isinstance(rule.logsource, EmptyLogSource) or isinstance(rule.detection, EmptySigmaDetections):
        raise rule.errors[-1]  # metadata is read before both
    trees = tuple(condition.parsed for condition in rule.detection.parsed_condition)
    if never_fires(trees):
        if rule.logsource.category is None:
            return None  # it is for another event of Sysmon
        if all(field_called(name) for tree in trees for name in asked_fields(tree)):
            raise UnsupportedRuleError("it asks for another event than Sysmon's event 8")
    conditions = tuple(map(compile_condition, trees))
    for condition in conditions:
        _try(condition)
    oddities = tuple(_reason(error) for error in rule.errors)
    parsed = tuple(tree for tree in trees if tree is not None)
    return LoadedRule(_told(rule, file), file, conditions, parsed, tuple(asked_paths(parsed)), oddities)


def _is_for_remote_threads(source: SigmaLogSource) -> bool:
    """Whether *source* is that of remote threads, or all that Sysmon logs."""
    return (
        source.product in {None, "windows"}
        and source.service in {None, "sysmon"}
        and (source.category == CATEGORY or (source.category is None and source.service is not None))
    )


def _told(rule: SigmaRule, file: Path) -> FiredRule:
    """Return what records keep of *rule*; one without a title is called as its *file*."""
    # With errors collected, what is not valid stays as it is written.
    title: object = rule.title
    level: object = rule.level
    references: object = rule.references
    return FiredRule(
        title if isinstance(title, str) and title.strip() else file.name,
        "" if rule.id is None else str(rule.id),
        str(level) if isinstance(level, SigmaLevel) else "",
        tuple(map(str, rule.tags)),
        tuple(map(str, references)) if isinstance(references, list) else (),
    )


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
