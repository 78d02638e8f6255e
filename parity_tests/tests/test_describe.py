"""A scenario in sentences."""

import pytest

from parity_tests.describe import describe
from parity_tests.steps import duration, parse_duration
from tests.shipped_scenarios import SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_scenario_reads_as_sentences(scenario):
    lines = list(describe(scenario))
    assert lines[0] == scenario.title
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    assert not [word for word in ("None", "True", "False", "_", "ThreadRef(") if word in text]
    assert "Must be reported:" in lines
    assert ("The published driver would report instead:" in lines) == (scenario.book_driver is not None)


def test_ids_places_times_and_repetitions_are_told():
    text = "\n".join(line for scenario in SCENARIOS for line in describe(scenario))
    for part in (
        "Process ids: windbg 7392, notepad 8336, cdb 15268, calc 1844.",
        "Thread ids: windbg 13092, windbg/engine 4788, cdb/one 7564, cdb/two 15152.",
        "113.653 s later, windbg breaks into notepad (thread called line 3, with the id 12676).",
        "loader creates a thread in svchost (called payload, starting in no image).",
        "1. 40 times, every 20 s:\n     1. svchost creates a thread in MemCompression (starting in the kernel).",
        "windbg attaches to notepad as a debugger non-invasively.",
        "worker 1 exits (which ETW loses).",
        "explorer starts calc (thread whose creator ETW does not know).",
        "The machine has 16 CPUs; their events arrive a buffer at a time.",
        "Its clock ticks every 15.625 ms.",
        "The tables of new processes have room for 4.",
        "  - 40 threads in MemCompression, made by svchost [kind: kernel-mode start]",
    ):
        assert part in text, part


@pytest.mark.parametrize("text", ["3 min", "90 s", "1.5 s", "113.653 s", "15.625 ms", "50 us", "0.1 us"])
def test_a_duration_is_shown_as_it_was_written(text):
    assert duration(parse_duration(text)) == text


@pytest.mark.parametrize("text", ["", "2", "s", "-1 s", "1 h", "1e3 s", "2 s ", "1.2.3 s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)
