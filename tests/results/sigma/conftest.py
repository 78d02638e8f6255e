"""Rules written for a test, asked about records written for it."""

import json
from pathlib import Path

import pytest

from etwdetect.results.sigma import load_rules

LOGSOURCE = {"product": "windows", "category": "create_remote_thread"}


def rule_text(detection, title="A rule", **more):
    """A rule as YAML, of which JSON is a part."""
    if "condition" not in detection:
        detection = {"selection": detection, "condition": "selection"}
    return json.dumps({"title": title, "logsource": LOGSOURCE, "detection": detection, **more})


def titles(rules, records):
    """The titles of those of *rules* that fire on each of *records*."""
    return [tuple(dict.fromkeys(rule.title for rule in each)) for each in rules.fired(records)]


class Loader:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, text, name="rule.yml"):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def __call__(self, detection, **more):
        """The rules of a file with one rule, of *detection*: a selection, or all of it with a condition."""
        return load_rules([self.write(rule_text(detection, **more))])


@pytest.fixture
def load(tmp_path):
    return Loader(tmp_path)


@pytest.fixture
def fires(load):
    """Whether a rule of *detection* fires on a record of *fields*; it must load."""

    def ask(detection, **fields):
        rules = load(detection)
        assert not rules.broken
        return titles(rules, [fields]) == [("A rule",)]

    return ask
