"""The public rules on events of Sysmon: the same fire in a flat SQL table, and what differs is explained.

The table is what Zircolite makes: a row for each event 8 with the values that Sysmon logged, asked by what
pySigma's SQLite backend makes of the rules, none of which is our code.
"""

import itertools
import json
import sqlite3

import pytest
from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection

from tests.cli.test_sysmon import real_events
from tests.results.sigma.test_public_rules import RECORDS, ROOT
from tests.sources.sysmon.events import SHAPES, THREAD, lines

SIGMA = ROOT.parent / "shared" / "sigma"

if not SIGMA.is_dir():
    pytest.skip("the public rules are not beside the repository, in shared/sigma", allow_module_level=True)

MISSING = ("", "-", None)
"""What older and newer Sysmon, and some collectors, have where nothing is known."""


def made():
    """Events that each rule is about, with each form of a missing value, ids as text and as numbers: 180 kinds."""
    records = itertools.chain.from_iterable(RECORDS.values())
    for record, missing, number in itertools.product(records, MISSING, (str, int)):
        told = {name: value for name, value in record.items() if name in THREAD}
        data = {**THREAD, "StartModule": missing, "StartFunction": missing, "RuleName": missing, **told}
        if data["StartModule"] is None:
            data["StartModule"] = missing
        yield data | {name: number(data[name]) for name in ("SourceProcessId", "TargetProcessId")}


def rules():
    for path in sorted(SIGMA.glob("*.yml")):
        collection = SigmaCollection.from_yaml(path.read_text("utf-8"))
        (query,) = sqliteBackend().convert(collection)
        yield collection.rules[0].title, query.partition(" WHERE ")[2]


def fired_in_a_table(events):
    """The titles of the rules that fire for each of *events*, asked in a flat table with all that rules name."""
    names = list(THREAD)
    asked = ["SourceCommandLine", "SourceParentImage", "TargetParentProcessId"]  # which event 8 does not have
    database = sqlite3.connect(":memory:")
    columns = ", ".join(f'"{name}" TEXT COLLATE NOCASE' for name in (*names, *asked))
    database.execute(f"CREATE TABLE events (id INTEGER, {columns})")
    for number, event in enumerate(events):
        values = [None if event.get(name) is None else str(event[name]) for name in names]
        marks = ", ".join("?" * (1 + len(names) + len(asked)))
        database.execute(f"INSERT INTO events VALUES ({marks})", [number, *values, *[None] * len(asked)])
    fired = [set() for _ in events]
    for title, condition in rules():
        for (number,) in database.execute(f"SELECT id FROM events WHERE {condition}"):
            fired[number].add(title)
    database.close()
    return fired


def fired_here(etwdetect, tmp_path, events):
    """The titles of the rules that fire here; the events are in every shape that collectors have."""
    path = tmp_path / "events.json"
    numbered = ({**event, "NewThreadId": str(number)} for number, event in enumerate(events))
    path.write_bytes(lines(*(shape(8, event) for shape, event in zip(itertools.cycle(SHAPES), numbered))))
    done = etwdetect("scan", path, "--sigma", SIGMA, "--format", "json")
    assert done.status == 0
    found = {record["NewThreadId"]: record for record in map(json.loads, done.out.splitlines())}
    return [set(found[number].get("Sigma", ())) for number in range(len(events))]


ASK_FOR_NO_MODULE = {"Password Dumper Remote Thread in LSASS", "HackTool - CACTUSTORCH Remote Thread Creation"}
"""One asks for StartModule '', the other for null, and Sysmon writes '-': here the three are one."""


def differences(events, ours, theirs):
    """What differs without the one reason that there is: rules that ask for a missing module."""
    for event, here, there in zip(events, ours, theirs, strict=True):
        unexplained = here ^ there
        if event.get("StartModule") in MISSING:
            unexplained -= (here - there) & ASK_FOR_NO_MODULE
        if unexplained:
            yield unexplained, event


def test_the_same_rules_fire_as_in_a_flat_table(etwdetect, tmp_path):
    events = list(made())
    assert len(events) == 180
    ours, theirs = fired_here(etwdetect, tmp_path, events), fired_in_a_table(events)
    assert list(differences(events, ours, theirs)) == []
    assert set().union(*theirs) >= {title for title, _ in rules()} - {
        # It asks for a parent process, which event 8 does not have.
        "Remote Thread Creation By Uncommon Source Image",
    }


def test_the_same_rules_fire_on_real_events(etwdetect, tmp_path):
    events = [data for _, event_id, data, _ in real_events() if event_id == 8]
    if not events:
        pytest.skip("the real recordings are not beside the repository, in shared/sysmon")
    ours, theirs = fired_here(etwdetect, tmp_path, events), fired_in_a_table(events)
    assert list(differences(events, ours, theirs)) == []
    assert sum(map(len, theirs)) > 0
