from dataclasses import replace

from etwdetect.enrich.detection import Calls, Process
from etwdetect.results.report.records import MAX_KINDS, OTHER_KINDS, OTHER_SEVERITY, Records
from etwdetect.results.report.sections import Ranked
from tests.results.report.conftest import CONSOLE, DEBUGGER, EDITOR, SECOND, START, STRANGER, attach, detection


def records_of(detections, **bounds):
    records = Records(**bounds)
    for origin, each in detections:
        records.add(each, origin)
    return records


def test_every_life_pair_start_and_verdict_is_there_once():
    records = records_of((0, each) for each in attach())
    assert len(records) == 5
    assert [life.process.pid for life in records.processes] == [7392, 8336, 640, 4120]
    assert records.pairs == [(0, 1), (2, 1), (3, 1)]
    assert list(records.pair_of) == [0, 0, 1, 1, 2]
    assert len(records.starts) == 4
    assert len(records.assessments) == 3


def test_what_a_later_record_tells_of_a_life_completes_it():
    known = Process(8336, start_time=EDITOR.start_time, command_line="notepad.exe a.txt")
    records = records_of([(0, detection(host="A")), (0, detection(target=known, host="A"))])
    assert [life.process for life in records.processes] == [
        DEBUGGER,
        replace(EDITOR, command_line="notepad.exe a.txt"),
    ]


def test_a_process_id_that_is_used_again_is_another_life():
    later = replace(EDITOR, start_time=START + SECOND)
    records = records_of([(0, detection()), (0, detection(target=later))])
    assert records.pairs == [(0, 1), (0, 2)]


def test_without_a_start_time_only_the_same_program_of_the_same_input_is_the_same_life():
    source, target = Process(1, "a.exe"), Process(2, "b.exe")
    one = detection(source=source, target=target)
    renamed = detection(source=source, target=Process(2, "c.exe"))
    assert records_of([(0, one), (0, one)]).pairs == [(0, 1)]
    assert records_of([(0, one), (0, renamed)]).pairs == [(0, 1), (0, 2)]
    assert records_of([(0, one), (1, one)]).pairs == [(0, 1), (2, 3)]


def test_one_life_in_two_inputs_is_one_where_its_machine_and_start_are_known():
    one = detection(host="A")
    assert records_of([(0, one), (1, one)]).pairs == [(0, 1)]
    assert records_of([(0, one), (1, replace(one, host="B"))]).pairs == [(0, 1), (2, 3)]


def test_what_is_beyond_the_bound_is_counted_but_not_listed():
    records = records_of(((0, each) for each in attach()), most=2)
    assert len(records) == 2
    assert records.unlisted == 3
    assert sum(records.counts.values()) == 5


def test_much_text_is_a_bound_too():
    texts = ((0, detection(source=replace(STRANGER, command_line=f"{number:01000}"))) for number in range(100))
    records = records_of(texts, most_text=10_000)
    assert 8 <= len(records) <= 11
    assert len(records) + records.unlisted == 100


def test_repeats_that_were_folded_count():
    records = records_of([(0, detection(count=91, last_time=START + 5 * SECOND, kind="other"))])
    assert records.counts == {("other", None): 91}
    assert list(records.last_times) == [START + 5 * SECOND]


def test_times_and_counts_of_hostile_records_have_room():
    records = records_of([(0, detection(count=(1 << 53) - 1, last_time=(1 << 64) - 1))])
    part = next(iter(Ranked(records).sections(1)))
    assert part.threads == (1 << 53) - 1
    assert part.last == f"FILETIME {(1 << 63) - 1}"


def test_hostile_kinds_and_severities_do_not_fill_the_summary():
    made = [(0, detection(kind=f"kind {number}", severity=f"severity {number}")) for number in range(1_000)]
    records = records_of(made)
    assert len(records.counts) == MAX_KINDS + 1
    assert records.counts[OTHER_KINDS, OTHER_SEVERITY] == 1_000 - MAX_KINDS
    assert {verdict.severity for verdict in records.assessments} == {OTHER_SEVERITY}


def test_pairs_come_by_severity_then_by_number():
    often = [(0, each) for each in 3 * [detection(source=CONSOLE)]]
    ranked = Ranked(records_of([(0, detection()), *often, (0, detection(source=STRANGER, severity="low"))]))
    assert [(part.source, part.threads) for part in ranked.sections(10)] == [
        ("invoice.exe 4120", 1),
        ("csrss.exe 640", 3),
        ("windbg.exe 7392", 1),
    ]


def test_a_pair_tells_why_something_is_not_known():
    absent = ("SourceUser", "the trace does not tell"), ("StartFunction", "no file"), ("Kind", "no rule fits")
    part = next(iter(Ranked(records_of([(0, detection(source=CONSOLE, absent=absent))])).sections(1)))
    facts = {row.label: row for row in part.process_rows}
    assert facts["User"].source == ("the trace does not tell", False)
    assert facts["User"].target == ("not known", False)
    assert part.starts[0].function == ("no file", False)
    assert part.assessments[0].kind == "kind not known"
    assert part.assessments[0].reason == ("no rule fits", True)


def test_a_pair_with_many_starts_lists_the_most_frequent_and_counts_the_rest():
    detections = [detection(address=16 * number) for number in range(50)] + [detection(address=0xABC)] * 2
    part = next(iter(Ranked(records_of((0, each) for each in detections)).sections(1)))
    assert part.starts[0].threads == 2
    assert len(part.starts) + part.more_starts == 51


def test_equal_call_stacks_are_one_and_are_counted_by_pair():
    one, other = Calls("C:\\ntdll.dll+1", "a.sys+2"), Calls(kernel="a.sys+3")
    found = [replace(detection(), calls=calls) for calls in (one, other, one, Calls())]
    records = records_of((0, each) for each in found)
    (section,) = Ranked(records).sections(1)
    assert [line.threads for line in section.stacks] == [2, 1]
    assert section.stacks[0].text == "stack: ntdll.dll+1; in the kernel: a.sys+2"
    assert [records.stacks[each] for each in records.stack_of][2:] == [section.stacks[0].text, ""]
