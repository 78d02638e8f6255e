"""Small recordings after reports from the field and after attacks, each with its right answer.

They are no part of the repository; where they are absent this is skipped. Each kind has tests of its own with
recordings by our writer: these say that the command prints the answer for the reported ones.
"""

import json
from pathlib import Path

import pytest

FIELD = Path(__file__).resolve().parents[2] / "shared" / "field"
HOSTILE = FIELD / "hostile"

pytestmark = pytest.mark.skipif(not FIELD.is_dir(), reason="the recordings are not in ../shared/field")


@pytest.fixture
def scanned(etwdetect):
    """Scan; return the status, the records and the messages."""

    def scan(path, *options):
        ended = etwdetect("scan", path, "--format", "json", *options)
        return ended.status, [json.loads(line) for line in ended.out.splitlines()], ended.err

    return scan


def images(records):
    return [(record["SourceImage"], record["TargetImage"]) for record in records]


def test_two_merged_sessions_show_no_first_thread_as_remote(scanned):
    status, records, told = scanned(FIELD / "merged-twice.etl.gz")
    assert (status, records) == (0, [])
    assert "3 thread starts are told twice by one provider" in told


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("name-in-end", [("injector.exe", "notepad.exe")]),
        ("nonascii", [("\\Device\\HarddiskVolume3\\Users\\user\\\u043f\u0440\u043e\u0433.exe", "notepad.exe")]),
        ("rundown-at-end", [(r"C:\Windows\System32\powershell.exe", r"C:\Windows\System32\lsass.exe")]),
        ("exit-after-hit", [(r"C:\Users\u\x\injector.exe", r"C:\Users\u\x\notepad.exe")] * 2),
        ("two-windows", [("injector.exe", "lsass.exe")]),
        ("hostile/image-path-laundered", [(r"C:\Users\bob\svchost.exe", "lsass.exe")]),
    ],
)
def test_the_programs_have_the_names_that_the_recording_tells(scanned, name, expected):
    status, records, _ = scanned(FIELD / f"{name}.etl.gz")
    assert (status, images(records)) == (0, expected)


def test_a_name_in_the_exit_comes_with_its_user_and_command_line(scanned):
    _, (record,), _ = scanned(FIELD / "name-in-end.etl.gz")
    assert record["SourceCommandLine"] == "injector.exe --go"
    assert record["SourceUser"] == "S-1-5-21-1-2-3-1001"


def test_what_a_flight_recorder_begins_with_carries_evidence(scanned):
    status, (record,), _ = scanned(FIELD / "circular.etl.gz")
    assert (status, record["Evidence"]) == (0, ["session-start"])


def test_an_appended_session_is_a_recording_of_its_own(scanned):
    status, records, told = scanned(FIELD / "append.etl.gz")
    assert status == 0
    assert [record["TargetImage"] for record in records] == ["monday.exe", "tuesday.exe"]
    assert [record["UtcTime"][:10] for record in records] == ["2024-09-05", "2024-09-06"]
    assert "2 logfile headers" in told


def test_a_rule_fires_on_a_name_without_a_path_or_is_named_where_it_asks_for_the_folder(scanned, tmp_path):
    pytest.importorskip("sigma")
    for title, asked in (("By name", "\\powershell.exe"), ("By folder", "\\v1.0\\powershell.exe")):
        (tmp_path / f"{title}.yml").write_text(
            f"title: {title}\nlogsource: {{category: create_remote_thread, product: windows}}\n"
            f"detection: {{selection: {{SourceImage|endswith: '{asked}'}}, condition: selection}}\n",
            encoding="utf-8",
        )
    status, (record,), told = scanned(FIELD / "sigma-bare.etl.gz", "--sigma", tmp_path)
    assert (status, record["SourceImage"], record["TargetImage"]) == (0, "powershell.exe", "lsass.exe")
    assert record["Sigma"] == ["By name"]
    assert "By folder" in told
    assert "By name" not in told
    assert "SourceImage has no path" in told


def test_a_recording_cut_between_two_buffers_says_so(scanned):
    status, records, told = scanned(HOSTILE / "windbg-cut-at-buffer.etl")
    assert (status, records) == (3, [])
    assert "2 of 3 buffers are there" in told


def test_the_hits_of_two_sessions_in_one_file_carry_evidence(scanned):
    _, records, _ = scanned(HOSTILE / "two-sessions.etl.gz")
    assert all("second-header" in record["Evidence"] for record in records)
    assert set(images(records)) == {(r"C:\Windows\System32\windbg.exe", r"C:\Windows\System32\notepad.exe")}


def test_a_made_up_list_that_renames_a_process_is_told(scanned):
    _, (record,), told = scanned(HOSTILE / "forged-rundown-renames.etl.gz")
    assert record["Evidence"] == ["renamed"]
    assert "another name" in told
    assert "Kind" not in record


def test_a_bad_archive_keeps_no_other_input_from_being_read(etwdetect):
    ended = etwdetect("scan", HOSTILE / "zip-bad-utf8-name.zip", FIELD / "two-windows.etl.gz", "--format", "json")
    assert ended.status == 1
    assert len(ended.out.splitlines()) == 1
    assert "not valid UTF-8" in ended.err


def test_two_members_of_one_name_are_read_each(scanned):
    status, records, told = scanned(HOSTILE / "zip-two-members-of-one-name.zip")
    assert (status, len(records)) == (0, 2)
    assert "!trace.etl (2): 0 remote threads" in told


def test_a_time_outside_the_calendar_is_refused_with_its_line(scanned):
    status, records, told = scanned(HOSTILE / "time-overflow.jsonl")
    assert (status, records) == (3, [])
    assert "line 2: time" in told
