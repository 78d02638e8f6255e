"""Sysmon as a witness of the vm bench, and what a scenario says of it."""

from dataclasses import replace

from etwdetect.comparison.pairing import Equality
from etwdetect.comparison.result import Side
from etwdetect.core.rule import RemoteThread
from parity_tests import describe, loading
from parity_tests.evaluation import Observation
from parity_tests.windows import sysmon
from tests.shipped_scenarios import SCENARIOS
from tests.sources.sysmon.events import THREAD, xml

SEEN = RemoteThread(132478044564580000, 3224, 1, 3440, 10204)
LOG = "".join(xml(8, {**THREAD, "NewThreadId": tid}) for tid in ("10204", "77")).encode()


def observed(*records):
    return Observation(Side(records, {}), Side(records, {}), Equality.LIVE, None)


def test_what_sysmon_logged_is_told_beside_what_the_detectors_reported():
    told = list(sysmon.told(SCENARIOS[0], observed(SEEN, SEEN._replace(tid=5)), LOG))
    assert "all of ETW, the driver and Sysmon: 1" in told
    assert "ETW and the driver have 3224:1 -> 3440:5, Sysmon not" in told
    assert told[-1] == (
        "Sysmon has 3224:? -> 3440:77, ETW and the driver not (markers and other programs are among these)"
    )


TEXT = """
title = "One"
why = "It matters."
steps = [ { create_remote_thread = "notepad", by = "tool", named = "new", at = "kernel32.dll!LoadLibraryW" } ]
expect = [ { thread_in = "notepad", made_by = "tool" } ]
[processes]
notepad = { running = true }
tool = { running = true }
[sysmon]
why = "Its documentation says so."
reports = []
"""


def test_a_scenario_can_say_what_sysmon_reports():
    scenario = loading.parse(TEXT, "one")
    assert scenario.sysmon.reports == ()
    lines = list(describe.describe(scenario))
    assert lines[lines.index("Sysmon would report instead:") + 1 :] == [
        "  - nothing",
        "  Its documentation says so.",
    ]
    told = list(sysmon.told(replace(scenario), observed(SEEN), b""))
    assert told[0] == "Sysmon is expected to differ: Its documentation says so."
