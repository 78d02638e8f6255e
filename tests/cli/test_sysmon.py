"""Recordings of Sysmon as an input of `scan`, `report` and `explain`."""

import gzip
import io
import json
import random
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from etwdetect.offline.sysmon import SysmonRecording
from etwdetect.results.record import from_json, to_json
from etwdetect.sources.sysmon import RecordingForm
from tests.conftest import needs_evtx
from tests.sources.sysmon.events import ACCESS, MUTATIONS, START, THREAD, flat, lines, reader, winlogbeat, xml

SAMPLE = Path(__file__).parents[2] / "samples" / "windbg-attach.etl"
REAL = Path(__file__).resolve().parents[3] / "shared" / "sysmon"
EVTX = sorted(REAL.glob("*.evtx"))

real = pytest.mark.skipif(not EVTX, reason="the real recordings are not in ../shared/sysmon")


@pytest.fixture
def recording(tmp_path):
    """Write a recording with one remote thread, and return its path."""
    path = tmp_path / "sysmon.json"
    path.write_bytes(lines(flat(1, START), flat(10, ACCESS), flat(8, THREAD)))
    return path


def test_a_recording_and_a_trace_are_scanned_side_by_side(etwdetect, recording):
    done = etwdetect("scan", recording, SAMPLE, "--format", "json")
    assert done.status == 0
    assert [json.loads(line)["Detector"] for line in done.out.splitlines()] == ["etw", "etw", "sysmon"]
    assert f"{recording}: 1 remote thread in 3 events of Sysmon" in done.err


@pytest.mark.parametrize(("package", "name"), [("evtx", "a.evtx"), ("pyarrow", "a.parquet")])
def test_an_input_whose_extra_is_missing_ends_with_5_and_the_others_are_read(recording, tmp_path, package, name):
    (tmp_path / name).write_bytes({"evtx": b"ElfFile\0".ljust(4096, b"\0"), "pyarrow": b"PAR1" * 4}[package])
    run = "from etwdetect.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules[{package!r}] = None; {run}", "scan", name, recording],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 5
    assert f"{name}: " in done.stderr
    assert "pip install" in done.stderr
    assert "1 remote thread in 3 events of Sysmon" in done.stderr


def test_text_shows_no_source_thread(etwdetect, recording):
    done = etwdetect("scan", recording, "--utc")
    assert done.out == (
        "2020-10-22 01:40:56.458: Remote Thread from PID: 3224 TID: ? -> PID: 3440 TID: 10204"
        "  mavinject.exe -> notepad.exe  high: library load, KERNEL32.DLL!LoadLibraryW\n"
    )


def test_json_of_it_is_saved_and_read_again_byte_for_byte(etwdetect, recording, tmp_path):
    out = etwdetect("scan", recording, "--format", "json").out
    (tmp_path / "saved.json").write_text(out)
    assert etwdetect("scan", tmp_path / "saved.json", "--format", "json").out == out


@pytest.mark.parametrize("form", ["ecs", "ocsf", "csv", "timesketch", "sysmon", "classic"])
def test_every_format_takes_it(etwdetect, recording, form):
    done = etwdetect("scan", recording, "--format", form)
    assert done.status == 0
    assert "10204" in done.out
    assert "null" not in done.out


def test_what_sysmon_reported_comes_out_as_it_was(etwdetect, recording):
    done = etwdetect("scan", recording, "--format", "sysmon")
    around = {
        "EventID": 8,
        "Channel": "Microsoft-Windows-Sysmon/Operational",
        "Provider_Name": "etwdetect",
        "Computer": "WS5",
    }
    assert json.loads(done.out) == around | THREAD


def test_what_comes_back_out_of_the_sysmon_format_is_told_to_be_written_by_etwdetect(
    etwdetect, recording, tmp_path
):
    written = tmp_path / "written.json"
    written.write_text(etwdetect("scan", recording, "--format", "sysmon").out)
    told = "1 remote thread written by etwdetect; the Detector is told as sysmon, whichever it was"
    assert told in etwdetect("scan", written).err
    assert "written by etwdetect" not in etwdetect("scan", recording).err


def test_report_and_explain_take_it(etwdetect, recording, tmp_path):
    page = tmp_path / "page.html"
    assert etwdetect("report", recording, "-o", page).status == 0
    assert "3224:?" in page.read_text("utf-8")
    done = etwdetect("explain", recording)
    assert "load-library (kinds.toml): fits, decides kind and severity" in done.out


def test_sigma_rules_judge_it(etwdetect, recording, tmp_path):
    rule = tmp_path / "rule.yml"
    rule.write_text(
        "title: Mavinject\nlogsource: {product: windows, category: create_remote_thread}\n"
        "detection: {a: {SourceCommandLine|contains: INJECTRUNNING, StartFunction: LoadLibraryW}, condition: a}\n"
    )
    done = etwdetect("scan", recording, "--sigma", rule, "--format", "json")
    assert json.loads(done.out)["Sigma"] == ["Mavinject"]
    rule.write_text(rule.read_text().replace("StartFunction: LoadLibraryW", "SourceThreadId: 5"))
    assert "SourceThreadId" in etwdetect("scan", recording, "--sigma", rule).err


def test_packed_recordings_are_read(etwdetect, recording, tmp_path):
    packed = tmp_path / "a.json.gz"
    packed.write_bytes(gzip.compress(recording.read_bytes()))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(recording, "sysmon.json")
        archive.writestr("sysmon.xml", xml(8, THREAD))
    done = etwdetect("scan", packed, tmp_path / "b.zip", "--format", "classic")
    assert (done.status, len(done.out.splitlines())) == (0, 3)


def test_of_a_directory_logs_of_other_channels_are_left_out(etwdetect, tmp_path):
    (tmp_path / "sysmon.jsonl").write_bytes(lines(winlogbeat(8, THREAD)))
    (tmp_path / "security.evtx").write_bytes(b"ElfFile\0" + bytes(70_000))
    done = etwdetect("scan", tmp_path, "--format", "classic")
    assert (done.status, len(done.out.splitlines())) == (0, 1)
    assert "security" not in done.err


def test_a_recording_without_an_event_of_sysmon_shows_nothing_and_says_so(etwdetect, tmp_path):
    path = tmp_path / "security.json"
    path.write_bytes(lines({"EventID": 4688, "Channel": "Security"}))
    done = etwdetect("scan", path)
    assert (done.status, done.out) == (3, "")
    assert "has no event of Sysmon, so it can't show anything" in done.err


def test_damage_is_told_and_what_was_read_is_shown(etwdetect, tmp_path, recording):
    path = tmp_path / "damaged.json"
    path.write_bytes(recording.read_bytes() + b'{"EventID": 8,\n')
    done = etwdetect("scan", path)
    assert (done.status, len(done.out.splitlines())) == (3, 1)
    assert "line 4: not valid JSON" in done.err
    path.write_bytes(b'{"EventID": 8,\n')
    assert etwdetect("scan", path).status == 1


def test_what_sysmon_says_of_itself_is_told(etwdetect, tmp_path):
    time = {"UtcTime": "2020-10-22 01:40:50.000"}
    error = {**time, "ID": "DriverCommunication", "Description": "Events dropped from driver queue"}
    config = {**time, "Configuration": "c.xml", "ConfigurationFileHash": "SHA256=AB"}
    path = tmp_path / "a.json"
    path.write_bytes(lines(reader(255, error), reader(16, config), reader(8, THREAD)))
    done = etwdetect("scan", path)
    assert done.status == 3
    assert "Sysmon reports an error: DriverCommunication, Events dropped from driver queue" in done.err
    assert "Sysmon got a configuration: c.xml, SHA256=AB" in done.err


def test_commands_that_need_events_refuse_it(etwdetect, recording):
    done = etwdetect("events", recording)
    assert done.status == 1
    assert "holds what Sysmon reported, not events" in done.err


# -- real recordings

EXACT = {
    "meterpreter_migrate_to_explorer_sysmon_8.evtx": [(3772, 2812, 840, "0x02060000")],
    "Sysmon_meterpreter_ReflectivePEInjection_to_notepad_.evtx": [
        (3092, 1632, tid, address)
        for tid, address in (
            *((tid, "0x00560000") for tid in (3788, 2804, 2588, 3536, 3916, 1028, 916, 3252)),
            (3148, "0x00540000"),
        )
    ],
    "psh_mavinject_dll_notepad.zip": [(3224, 3440, 10204, "0x00007FFB9285E540")],
    "purplesharp_pe_injection_createremotethread.zip": [(8972, 9908, 8488, "0x0000023FAD900000")],
}


@real
@needs_evtx
@pytest.mark.parametrize("name", EXACT)
def test_real_recordings_have_these_threads(etwdetect, name):
    done = etwdetect("scan", REAL / name, "--format", "json")
    assert done.status == 0
    found = [json.loads(line) for line in done.out.splitlines()]
    names = "SourceProcessId", "TargetProcessId", "NewThreadId", "StartAddress"
    assert [tuple(each[name] for name in names) for each in found] == EXACT[name]
    assert all(each["SourceCommandLine"] for each in found if "mavinject" in name)


def real_events():
    """The ids and the data of all events that are read, from JSON and .evtx."""
    evtx = pytest.importorskip("evtx")
    for path in sorted(REAL.glob("*.*")):
        if path.suffix == ".evtx":
            for each in evtx.PyEvtxParser(str(path)).records_json():
                event = json.loads(each["data"])["Event"]
                yield path.name, event["System"]["EventID"], event["EventData"], event["System"]["Computer"]
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for line in archive.read(archive.namelist()[0]).splitlines():
                    event = json.loads(line)
                    if event["SourceName"] == "Microsoft-Windows-Sysmon":
                        yield path.name, event["EventID"], event, event["Hostname"]


def read(data, form):
    recording = SysmonRecording(io.BytesIO(data), form, "made")
    return [to_json(each) for each in recording.detections()], recording


@pytest.mark.slow
@real
@pytest.mark.parametrize("shape", [reader, flat, winlogbeat, xml], ids=lambda shape: shape.__name__)
def test_real_events_give_the_same_through_every_shape(etwdetect, shape):
    for name in EXACT:
        events = [each[1:] for each in real_events() if each[0] == name]
        texts = [
            (event_id, {field: str(value) for field, value in data.items() if value is not None}, host)
            for event_id, data, host in events
        ]
        made = (
            "".join(xml(*each) for each in texts).encode() if shape is xml else lines(*(shape(*e) for e in texts))
        )
        detections, recording = read(made, RecordingForm.XML if shape is xml else RecordingForm.JSON)
        scanned = etwdetect("scan", REAL / name, "--format", "json").out.splitlines()
        assert detections == [to_json(replace(from_json(line), trace=None)) for line in scanned]
        assert recording.faults == 0


@real
def test_real_events_come_out_of_the_sysmon_format_without_a_change_of_value(etwdetect):
    """What differs: GUIDs are in lower case and braces, what is missing is "-", users come from events 1."""
    threads = [data for _, event_id, data, _ in real_events() if event_id == 8]
    out = [
        json.loads(line)
        for name in sorted(EXACT)
        for line in etwdetect("scan", REAL / name, "--format", "sysmon").out.splitlines()
    ]
    assert len(out) == len(threads) == 12
    for written, real_data in zip(out, threads, strict=True):
        for name, value in list(written.items())[
            4:
        ]:  # what stands behind EventID, Channel, Provider_Name, Computer
            told = str(real_data.get(name, "")) or "-"
            if name.endswith("Guid"):
                told = f"{{{told.strip('{}').lower()}}}"
            assert name in {"SourceUser", "TargetUser"} or value == told


@real
@needs_evtx
def test_mutations_of_an_event_log_give_what_is_left_and_no_other_error():
    chance = random.Random(1)
    for path in EVTX:
        whole = path.read_bytes()
        for _ in range(MUTATIONS):
            data = bytearray(whole)
            for _ in range(chance.randint(1, 20)):
                data[chance.randrange(4096 if chance.random() < 0.8 else 0, 20_000)] = chance.randrange(256)
            detections, recording = read(
                bytes(data[: chance.choice((len(data), chance.randrange(len(data))))]), RecordingForm.EVTX
            )
            assert len(detections) <= 20
            assert recording.faults <= 200


@real
@needs_evtx
def test_a_file_is_read_by_its_path_as_its_bytes_are(tmp_path):
    """The package evtx reads a whole file by itself; where that fails, it is read in parts, from there on."""
    chance = random.Random(2)
    path = tmp_path / "mutated.evtx"
    whole = next(path for path in EVTX if "Reflective" in path.name).read_bytes()
    for _ in range(40):
        data = bytearray(whole + whole[4096:] * 2)
        for _ in range(chance.randint(0, 6)):
            data[chance.randrange(4096 + 512, len(data))] = chance.randrange(256)
        path.write_bytes(data)
        with path.open("rb") as file:
            recording = SysmonRecording(file, RecordingForm.EVTX, "made")
            by_path = [to_json(each) for each in recording.detections()]
        in_parts, parts = read(bytes(data), RecordingForm.EVTX)
        assert (by_path, recording.faults, recording.events) == (in_parts, parts.faults, parts.events)


@real
@needs_evtx
def test_a_damaged_chunk_costs_no_other_one(etwdetect, tmp_path):
    data = next(path for path in EVTX if "Reflective" in path.name).read_bytes()
    chunk = data[4096:]
    path = tmp_path / "three.evtx"
    path.write_bytes(data + b"x" * len(chunk) + chunk + chunk[:30_000])
    done = etwdetect("scan", path)
    assert done.status == 3
    assert len(done.out.splitlines()) == 27
    assert "chunk at offset 0x11000: it does not begin as a chunk does" in done.err
    assert "chunk at offset 0x31000: the file ends within it" in done.err


@pytest.mark.parametrize(("more", "status"), [(b"", 0), (b'{"EventID": 8,\n', 3)], ids=["whole", "cut"])
def test_a_recording_that_is_equal_and_cut_short_ends_a_comparison_with_3(
    etwdetect, recording, tmp_path, more, status
):
    saved = from_json(etwdetect("scan", recording, "--format", "json").out)
    other = tmp_path / "etw.json"
    of_etw = replace(saved, detector="etw", thread=saved.thread._replace(creator_tid=7))
    other.write_text(to_json(of_etw) + "\n", encoding="utf-8")
    recording.write_bytes(recording.read_bytes() + more)
    done = etwdetect("parity", "compare", other, recording)
    assert "all of ETW and Sysmon: 1" in done.out
    assert done.status == status
