"""The evidence of a run: the same verdict elsewhere, and what is no evidence is said."""

import json
import zipfile

import pytest

from etwdetect.comparison.pairing import Equality
from etwdetect.comparison.result import Result, Side
from etwdetect.core.rule import RemoteThread
from parity_tests import loading
from parity_tests.evaluation import Observation, evaluate
from parity_tests.evidence import Evidence, EvidenceError, replay
from parity_tests.steps import ThreadRef
from parity_tests.windows.ids import RealIds

SCENARIO = """
title = "A thread in another process"
why = "Something to look at"
steps = [{ create_remote_thread = "notepad", by = "injector", at = "nowhere", named = "payload" }]
expect = [{ thread_in = "notepad/payload", made_by = "injector" }]
processes = { notepad = { running = true }, injector = { running = true } }
"""
NOW = 134_000_000_000_000_000
PAYLOAD = RemoteThread(NOW, 100, 101, 200, 202)
STRAY = RemoteThread(NOW + 5, 900, 901, 300, 301)
IDS = RealIds(
    {"notepad": 200, "injector": 100},
    {ThreadRef("injector"): 101, ThreadRef("notepad"): 201, ThreadRef("notepad", "payload"): 202},
)


def observation(etw, driver, **more):
    return Observation(Side(etw, {"remote": len(etw)}), Side(driver, {"remote": 1}), Equality.LIVE, IDS, **more)


EQUAL = observation([PAYLOAD], [PAYLOAD])
UNEQUAL = observation([PAYLOAD, STRAY], [PAYLOAD])


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "a-thread.toml"
    path.write_text(SCENARIO, "utf-8")
    return loading.load(path)


@pytest.fixture
def write(scenario, tmp_path):
    """Returns a function that writes evidence of these observations; None stands for one that failed."""

    def write(*observations):
        path = tmp_path / "evidence.zip"
        with Evidence(path) as evidence:
            for each in observations:
                if each is None:
                    result = Result(scenario.name, "vm", 0.5, complaints=("could not be performed: no",))
                else:
                    result = evaluate(scenario, "vm", each, 0.5)
                    (evidence.recordings / "a-thread.jsonl").write_bytes(b"{}\n")
                evidence.add(scenario, result, each)
        return path

    return write


def test_the_verdict_is_the_same_elsewhere(write, etwdetect):
    ran = etwdetect("parity", "compare", write(EQUAL, UNEQUAL, None))
    rows = [line.split()[:4] for line in ran.out.splitlines()[1:4]]
    assert rows == [["passed", "vm", "1", "0"], ["failed", "vm", "1", "1"], ["failed", "vm", "a-thread"]]
    assert "only ETW has 900:901 -> 300:301" in ran.out
    assert "could not be performed: no" in ran.out
    assert "1 passed, 2 failed, 0 skipped in 1.5 s" in ran.out
    assert ran.status == 1
    assert etwdetect("parity", "compare", write(EQUAL)).status == 0


def test_the_verdict_follows_what_was_observed_not_what_was_said_of_it(write, tmp_path):
    forged = tmp_path / "forged.zip"
    with zipfile.ZipFile(write(UNEQUAL)) as before, zipfile.ZipFile(forged, "w") as after:
        for name in before.namelist():
            after.writestr(name, before.read(name).replace(b'"failed"', b'"passed"'))
    (result,) = replay(forged)
    assert result.status == "failed"


def test_a_skipped_scenario_stays_skipped_with_its_reason(scenario, tmp_path):
    with Evidence(tmp_path / "evidence.zip") as evidence:
        evidence.add(scenario, Result(scenario.name, "vm", skipped="the reason"), None)
    (result,) = replay(tmp_path / "evidence.zip")
    assert (result.status, result.skipped) == ("skipped", "the reason")


def test_the_outputs_in_it_can_be_compared_by_themselves(write, etwdetect, tmp_path):
    with zipfile.ZipFile(write(UNEQUAL)) as archive:
        archive.extractall(tmp_path)
        assert archive.read("0/events.jsonl") == b"{}\n"
        assert json.loads(archive.read("evidence.json"))["Versions"]["etwdetect"]
    ran = etwdetect("parity", "compare", tmp_path / "0" / "etw.json", tmp_path / "0" / "driver.json")
    assert (ran.status, "only ETW has 900:901 -> 300:301" in ran.out) == (1, True)


def test_nothing_but_the_file_is_left(write, tmp_path):
    write(EQUAL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-thread.toml", "evidence.zip"]


def test_without_a_result_there_is_no_file_and_an_older_one_stays(tmp_path):
    path = tmp_path / "evidence.zip"
    path.write_bytes(b"older")
    with Evidence(path):
        pass
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("evidence.zip", b"older")]


def test_what_was_added_before_an_error_is_written(scenario, tmp_path):
    path = tmp_path / "evidence.zip"
    with pytest.raises(KeyError), Evidence(path) as evidence:  # noqa: PT012 (the error comes in its midst)
        evidence.add(scenario, evaluate(scenario, "vm", EQUAL), EQUAL)
        raise KeyError
    assert [result.status for result in replay(path)] == ["passed"]


def test_what_a_killed_run_left_is_replaced(write, tmp_path):
    (tmp_path / "evidence.zip.part").write_bytes(b"half")
    (tmp_path / "evidence.zip.events").mkdir()
    (tmp_path / "evidence.zip.events" / "a-thread.jsonl").write_bytes(b"half")
    with zipfile.ZipFile(write(None)) as archive:
        assert "0/events.jsonl" not in archive.namelist()
    assert not (tmp_path / "evidence.zip.part").exists()


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EvidenceError, match="cannot be written"), Evidence(tmp_path / "file" / "evidence.zip"):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("evidence.json", None, "evidence.json is missing"),
        ("evidence.json", b"{", "evidence.json is not JSON"),
        ("evidence.json", b"[" * 100_000, "evidence.json is not JSON"),
        ("evidence.json", b"[]", "evidence.json is not an object"),
        ("evidence.json", b'{"SchemaVersion": 2}', "evidence.json has schema version 2; this reads version 1"),
        ("evidence.json", b"\xff", "evidence.json is not UTF-8"),
        ("results.json", b'{"Results": [{"Subject": 1}]}', "results.json is not a list of results"),
        ("results.json", b'{"Results": 7}', "results.json is not a list of results"),
        ("results.json", b'{"Results": [7]}', "results.json is not a list of results"),
        ("0/observation.json", b"{}", "0/observation.json is not an observation"),
        ("0/observation.json", b"[]", "0/observation.json is not an observation"),
        ("0/observation.json", b'{"processes": [], "threads": 1}', "0/observation.json is not an observation"),
        ("0/scenario.toml", None, "0/scenario.toml is missing"),
        ("0/scenario.toml", b"title = 1", "a-thread: "),
    ],
)
def test_a_part_that_is_wrong_is_named(write, etwdetect, name, content, complaint):
    path = write(EQUAL)
    changed = path.with_name("changed.zip")
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as after:
        for each in before.namelist():
            if each != name:
                after.writestr(each, before.read(each))
        if content is not None:
            after.writestr(name, content)
    ran = etwdetect("parity", "compare", changed)
    assert (ran.status, ran.out) == (1, "")
    assert complaint in ran.err


@pytest.mark.parametrize("keep", [0, 10, 200, -1, -30])
def test_a_file_that_is_cut_short_is_said(write, etwdetect, keep):
    path = write(EQUAL, UNEQUAL)
    path.write_bytes(path.read_bytes()[:keep])
    ran = etwdetect("parity", "compare", path)
    assert ran.status == 1
    assert "evidence.zip cannot be read: " in ran.err


def test_a_changed_byte_in_a_part_is_said(write, etwdetect):
    path = write(EQUAL)
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("0/observation.json").header_offset + 80
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
    ran = etwdetect("parity", "compare", path)
    assert (ran.status, "0/observation.json: " in ran.err) == (1, True)


def test_a_part_that_unpacks_to_very_much_is_refused(write, monkeypatch):
    monkeypatch.setattr("parity_tests.evidence._MOST_BYTES", 1 << 20)
    path = write(EQUAL)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("0/observation.json", b" " * (1 << 21))
    with pytest.raises(EvidenceError, match="more than 1 MiB"):
        list(replay(path))


def test_minimal_processes_are_a_note_and_no_failure(scenario, write):
    seen = observation([PAYLOAD, STRAY], [PAYLOAD], minimal={300: "MemCompression"})
    (result,) = replay(write(seen))
    assert (result.status, len(result.comparison.only_etw)) == ("passed", 0)
    (note,) = result.notes
    assert note.startswith("only ETW has 900:901 -> 300:301, in or by MemCompression, a minimal process: ")
    by_one = observation([PAYLOAD], [PAYLOAD, STRAY], minimal={900: "Registry"})
    assert (
        evaluate(scenario, "vm", by_one)
        .notes[0]
        .startswith("only the driver has 900:901 -> 300:301, in or by Reg")
    )


def test_minimal_processes_excuse_no_other_difference(scenario):
    other = STRAY._replace(pid=304)
    seen = observation([PAYLOAD, STRAY, other], [PAYLOAD], minimal={300: "MemCompression"})
    assert evaluate(scenario, "vm", seen).complaints == ("only ETW has 900:901 -> 304:301",)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("run", "--bench", "model", "--evidence", "e.zip"), "--evidence is for --bench vm and --bench wine"),
        (("run", "--bench", "model", "--driver", "d.sys"), "--driver is for --bench vm"),
        (("compare", "only-one.json"), "Missing argument 'DRIVER.json'"),
    ],
)
def test_options_that_do_not_fit_are_refused(etwdetect, arguments, complaint):
    ran = etwdetect("parity", *arguments)
    assert (ran.status, complaint in ran.err) == (2, True)
