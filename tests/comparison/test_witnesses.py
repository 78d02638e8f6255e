"""ETW, the driver and Sysmon beside each other."""

import json
from dataclasses import replace

import pytest

from etwdetect.comparison import report, result_files
from etwdetect.comparison.saved_outputs import Output, compare_witness_outputs
from etwdetect.comparison.sysmon_rules import parse_rules
from etwdetect.comparison.witnesses import compare_witnesses, lines
from etwdetect.core.errors import EtwDetectError
from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Detection, Process
from etwdetect.results.record import to_json
from tests.sources.sysmon.events import THREAD, flat
from tests.sources.sysmon.events import lines as json_lines

TIME = 132_337_152_000_000_000
MS = 10_000


def seen(detector, number, offset=0, **thread):
    creator_tid = None if detector == "sysmon" else 101
    made = RemoteThread(TIME + number * 10_000 * MS + offset, 100, creator_tid, 200, 300 + number)._replace(
        **thread
    )
    source, target = Process(made.creator_pid, "C:\\a.exe"), Process(made.pid, "C:\\b.exe")
    return Detection(made, detector, source, target)


def compared(etw=(), driver=(), sysmon=(), rules=None):
    records = {"etw": [seen("etw", each) for each in etw], "driver": [seen("driver", each) for each in driver]}
    records["sysmon"] = [each if isinstance(each, Detection) else seen("sysmon", each) for each in sysmon]
    return compare_witnesses(records, rules)


def test_each_thread_is_counted_with_who_has_it():
    found = compared(etw=(1, 2, 3, 5), driver=(1, 2, 4), sysmon=(1, 3, 4, 6))
    assert found.counts() == {
        ("etw", "driver", "sysmon"): 1,
        ("etw", "driver"): 1,
        ("etw", "sysmon"): 1,
        ("driver", "sysmon"): 1,
        ("etw",): 1,
        ("sysmon",): 1,
    }
    assert len(found.unexplained) == 5
    told = list(lines(found))
    assert told[0] == "all of ETW, the driver and Sysmon: 1"
    assert "only Sysmon: 1" in told


@pytest.mark.parametrize(("evidence", "is_reason"), [("second-start", True), ("renamed", False)])
def test_only_evidence_about_the_thread_is_a_reason_why_another_lacks_it(evidence, is_reason):
    records = {"etw": [seen("etw", 1, evidence=(evidence,))], "sysmon": [seen("sysmon", 2)]}
    found = compare_witnesses(records)
    assert (f"it may be a first thread ({evidence})" in found.reasons.values()) == is_reason


def test_the_median_offset_is_told_and_pairs_far_from_it_are_marked():
    offsets = (16 * MS, 15 * MS, 17 * MS, 16 * MS, 49 * MS)
    records = {
        "etw": [seen("etw", number) for number in range(5)],
        "sysmon": [seen("sysmon", number, offset) for number, offset in enumerate(offsets)],
    }
    found = compare_witnesses(records)
    assert found.offset == 16 * MS
    assert [each.first.thread.tid for each in found.far_off] == [304]
    assert "Sysmon's times are 16 ms after the others' (median)" in list(lines(found))
    assert "100:101 -> 200:304 is 49 ms off, more than 32 ms from the median" in list(lines(found))
    assert found.unexplained == []


def test_the_source_thread_tells_creations_of_etw_and_the_driver_apart_and_none_of_sysmon():
    one = seen("etw", 1), seen("etw", 1, 5 * MS, creator_tid=999)
    other = seen("driver", 1, 5 * MS, creator_tid=999), seen("driver", 1)
    found = compare_witnesses({"etw": one, "driver": other, "sysmon": [seen("sysmon", 1), seen("sysmon", 1)]})
    assert found.counts() == {("etw", "driver", "sysmon"): 2}
    assert all(each.etw.thread == each.driver.thread for each in found.sightings)


def test_what_sysmon_excludes_is_explained():
    section = "<CreateRemoteThread onmatch='exclude'><SourceImage>C:\\A.exe</SourceImage></CreateRemoteThread>"
    rules = parse_rules(f"<Sysmon>{section}</Sysmon>".encode())
    found = compared(etw=(1,), driver=(1,), rules=rules)
    assert found.unexplained == []
    assert list(lines(found))[-1] == (
        "ETW and the driver have 100:101 -> 200:301, Sysmon not: "
        "Sysmon's configuration excludes it: SourceImage is C:\\A.exe"
    )
    assert compared(etw=(1,), driver=(1,)).unexplained


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (seen("sysmon", 1, creator_pid=4), "excludes the ids of Idle and System"),
        (seen("sysmon", 1, pid=0), "excludes the ids of Idle and System"),
        (
            replace(seen("sysmon", 1), target=Process(200, start_time=TIME + 10_000 * MS - 20 * MS)),
            "its process had just started: to ETW it is the first thread",
        ),
    ],
)
def test_what_the_rule_leaves_out_is_explained(record, why):
    found = compared(sysmon=[record])
    assert found.unexplained == []
    assert why in list(lines(found))[-1]


@pytest.mark.parametrize(
    ("evidence", "why"),
    [("session-start", "it may be a first thread (session-start)"), ("events-lost:3", "may be a first thread")],
)
def test_what_is_uncertain_itself_is_explained(evidence, why):
    uncertain = seen("etw", 1, evidence=(evidence,))
    found = compare_witnesses({"etw": [uncertain], "sysmon": []})
    assert found.unexplained == []
    assert why in list(lines(found))[-1]


def test_what_a_lossy_witness_lacks_is_explained():
    lossy = seen("etw", 1, evidence=("events-lost:3",))
    found = compare_witnesses({"etw": [lossy], "sysmon": [seen("sysmon", 1), seen("sysmon", 2)]})
    assert found.unexplained == []
    assert list(lines(found))[-1] == "Sysmon has 100:? -> 200:302, ETW not: ETW lost events"


def result(*outputs, rules=None):
    named = [Output(f"{name}.json", name if records else None, records) for name, records in outputs]
    return compare_witness_outputs(named, rules)


def test_results_show_the_three_in_text_json_and_junit():
    good = [("etw", [seen("etw", 1)]), ("driver", [seen("driver", 1)]), ("sysmon", [seen("sysmon", 1, 16 * MS)])]
    passed = result(*good)
    assert report.row(passed).split()[:8] == ["passed", "recorded", "1", "0", "0", "-", "16", "ms"]
    failed = result(*good[:2], ("sysmon", []))
    assert failed.complaints == ("ETW and the driver have 100:101 -> 200:301, Sysmon not",)
    document = json.loads(result_files.to_json([failed]))["Results"][0]["Witnesses"]
    assert document["Counts"] == {"etw driver sysmon": 0, "etw driver": 1}
    assert document["Differences"][0]["SeenBy"] == ["etw", "driver"]
    assert "Sysmon not" in result_files.junit([failed])


def test_two_outputs_of_one_witness_are_refused():
    with pytest.raises(EtwDetectError, match="another output of Sysmon"):
        result(("sysmon", [seen("sysmon", 1)]), ("sysmon", [seen("sysmon", 1)]))


@pytest.fixture
def outputs(tmp_path):
    """Write what each witness reported, Sysmon's as a recording, and return the paths."""
    paths = [tmp_path / f"{name}.json" for name in ("etw", "driver", "sysmon")]
    thread = RemoteThread(132478044564580000, 3224, 1, 3440, 10204)
    for path, name in zip(paths, ("etw", "driver"), strict=False):
        path.write_text(
            to_json(Detection(thread, name, Process(3224, THREAD["SourceImage"]), Process(3440))) + "\n"
        )
    paths[2].write_bytes(json_lines(flat(8, THREAD)))
    return paths


def test_the_command_takes_three_outputs_in_any_order_and_a_recording_of_sysmon(etwdetect, outputs):
    for paths in (outputs, outputs[::-1]):
        done = etwdetect("parity", "compare", *paths)
        assert done.status == 0
        assert "all of ETW, the driver and Sysmon: 1" in done.out
    done = etwdetect("parity", "compare", outputs[0], outputs[2])
    assert (done.status, "all of ETW and Sysmon: 1" in done.out) == (0, True)


@pytest.mark.parametrize("form", ["sysmon", "sysmon-event"])
def test_the_command_does_not_take_what_etwdetect_wrote_as_what_sysmon_reported(etwdetect, outputs, form):
    outputs[2].write_text(etwdetect("scan", outputs[0], "--format", form).out)
    done = etwdetect("parity", "compare", outputs[0], outputs[2])
    assert (done.status, done.out) == (1, "")
    assert f"{outputs[2]}: etwdetect wrote it in Sysmon's form" in done.err


def test_the_command_says_what_sysmon_lacks_and_why_where_its_configuration_is_given(etwdetect, outputs, tmp_path):
    outputs[2].write_bytes(json_lines(flat(8, {**THREAD, "NewThreadId": "5"})))
    done = etwdetect("parity", "compare", *outputs)
    assert done.status == 1
    assert "ETW and the driver have 3224:1 -> 3440:10204, Sysmon not" in done.out
    config = tmp_path / "config.xml"
    config.write_text(
        "<Sysmon><CreateRemoteThread onmatch='exclude'><SourceImage condition='image'>mavinject.exe</SourceImage>"
        "</CreateRemoteThread></Sysmon>"
    )
    outputs[2].write_bytes(json_lines(flat(5, {**THREAD, "ProcessId": 5})))
    done = etwdetect("parity", "compare", *outputs, "--sysmon-config", config)
    assert done.status == 0
    assert "Sysmon's configuration excludes it: SourceImage image mavinject.exe" in done.out
    assert etwdetect("parity", "compare", *outputs[:2], "--sysmon-config", config).status == 2
