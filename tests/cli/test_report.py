import re
from pathlib import Path

from tests.conftest import needs_a_full_disk, needs_numpy
from tests.traces_by_writer import SECOND, START, attack, write_trace

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples" / "windbg-attach.etl"
QUIET = ROOT / "samples" / "quiet.etl"


def shown(path):
    """The text of a page, without its scripts."""
    html = re.sub(r"<(script|style)[ >].*?</\1>", "", path.read_text("utf-8"), flags=re.DOTALL)
    return " ".join(re.sub("<[^>]*>", " ", html).split())


def test_a_page_is_written_and_nothing_goes_to_standard_output(etwdetect, tmp_path):
    done = etwdetect("report", SAMPLE, "-o", tmp_path / "report.html")
    assert (done.status, done.out) == (0, "")
    text = shown(tmp_path / "report.html")
    assert "2 remote threads" in text
    assert "windbg.exe 7392 → notepad.exe 8336" in text
    assert "Nothing was lost" in text


def test_two_runs_write_the_same_bytes(etwdetect, tmp_path):
    for name in ("a.html", "b.html"):
        etwdetect("report", SAMPLE, "-o", tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_each_input_is_listed_and_what_cannot_be_read_stands_at_the_top(etwdetect, tmp_path):
    (tmp_path / "no-trace.etl").write_bytes(b"no trace")
    done = etwdetect("report", SAMPLE, QUIET, tmp_path / "no-trace.etl", "-o", tmp_path / "report.html")
    assert done.status == 1
    text = shown(tmp_path / "report.html")
    assert "no-trace.etl" in text[: text.index("Threads by kind")]
    assert "Not everything is in this report." in text
    assert "quiet.etl read" in text


def test_a_trace_cut_short_ends_with_status_3_and_says_where(etwdetect, tmp_path):
    path = write_trace(tmp_path / "a.etl", attack())
    path.write_bytes(path.read_bytes()[:-100])
    done = etwdetect("report", path, "-o", tmp_path / "report.html")
    assert done.status == 3
    assert "offset 0x" in shown(tmp_path / "report.html")


def test_filters_choose_and_the_page_says_how_many_did_not_pass(etwdetect, tmp_path):
    path = write_trace(tmp_path / "a.etl", [*attack(), *attack(START + 20 * SECOND)])
    done = etwdetect("report", path, "--since", "2020-05-12T00:00:15", "-o", tmp_path / "report.html")
    assert done.status == 0
    text = shown(tmp_path / "report.html")
    assert "1 remote thread " in text
    assert "1 remote thread did not pass the filters" in text


def test_an_input_is_never_written_over(etwdetect, tmp_path):
    path = write_trace(tmp_path / "a.etl", attack())
    before = path.read_bytes()
    assert etwdetect("report", path, "-o", path).status == 2
    assert path.read_bytes() == before


@needs_a_full_disk
def test_a_page_that_cannot_be_written_is_an_error(etwdetect):
    done = etwdetect("report", SAMPLE, "-o", "/dev/full")
    assert done.status == 1
    assert done.err.count("the result cannot be written: No space left on device") == 1
    assert done.err.count("cannot be written") == 1


def test_an_output_is_asked_for(etwdetect):
    done = etwdetect("report", SAMPLE)
    assert done.status == 2
    assert "--output" in done.err


@needs_numpy
def test_real_recordings_are_reported(etwdetect, recordings, tmp_path):
    done = etwdetect("report", recordings, "-o", tmp_path / "report.html")
    assert done.status == 3
    text = shown(tmp_path / "report.html")
    assert "3 remote threads" in text
    assert "3 events were lost while" in text


def test_saved_results_make_the_rows_that_their_trace_makes(etwdetect, tmp_path):
    etwdetect("scan", SAMPLE, "--format", "json", "-o", tmp_path / "saved.json")
    assert etwdetect("report", tmp_path / "saved.json", "-o", tmp_path / "saved.html").status == 0
    assert etwdetect("report", SAMPLE, "-o", tmp_path / "trace.html").status == 0
    saved, traced = (shown(tmp_path / name) for name in ("saved.html", "trace.html"))
    assert saved[saved.index(" Threads The first") :] == traced[traced.index(" Threads The first") :]


def test_a_line_that_is_no_record_is_named_at_the_top(etwdetect, tmp_path):
    etwdetect("scan", SAMPLE, "--format", "json", "-o", tmp_path / "saved.json")
    with (tmp_path / "saved.json").open("a") as file:
        file.write('{"SchemaVersion": "<b>"}\n')
    done = etwdetect("report", tmp_path / "saved.json", "-o", tmp_path / "report.html")
    assert done.status == 3
    text = shown(tmp_path / "report.html")
    assert "line 3:" in text[: text.index("Threads by kind")]
    assert "2 remote threads" in text


def test_with_image_files_the_page_names_start_functions(etwdetect, tmp_path):
    images = ROOT / "samples" / "images"
    etwdetect("report", SAMPLE, "--images", images, "-o", tmp_path / "report.html")
    assert "ntdll.dll!DbgUiRemoteBreakin" in shown(tmp_path / "report.html")
