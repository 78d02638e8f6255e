"""Many inputs: each that matters is named, one line sums all up."""

import signal

import pytest

from etwdetect.cli.inputs import Inputs, consume
from etwdetect.cli.status import Status
from tests.traces_by_writer import attack, write_trace


@pytest.fixture
def traces(tmp_path):
    """Thirty traces of other providers, and one of each other kind."""
    folder = tmp_path / "traces"
    folder.mkdir()
    for number in range(30):
        write_trace(folder / f"other-{number:02}.etl", [])
    write_trace(folder / "hit.etl", attack())
    write_trace(folder / "lossy.etl", attack(), events_lost=1)
    write_trace(folder / "quiet.etl", [*attack()[:2], attack()[2]._replace(creator_pid=200)])
    (folder / "bad.etl").write_bytes(b"no trace at all" * 10)
    (folder / "notes.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(100))
    return folder


CLOSING = "35 inputs: 2 with remote threads, 1 incomplete, 30 without anything to show"


@pytest.mark.parametrize("command", [("scan",), ("explain",), ("events", "-o", "out"), ("report", "-o", "out")])
def test_one_line_sums_up_all_inputs(etwdetect, traces, command):
    done = etwdetect(command[0], traces, *command[1:], cwd=traces.parent)
    *_, last = done.err.splitlines()
    closing = CLOSING.replace(" 2 with remote threads,", "") if command[0] == "events" else CLOSING
    assert last == f"etwdetect: {closing} (-v names all), 1 unreadable, 1 passed over"
    assert done.status == 1


def test_traces_without_anything_to_show_are_named_up_to_ten_and_with_v_all(etwdetect, traces):
    def named(*options):
        done = etwdetect("scan", traces, *options)
        lines = [line for line in done.err.splitlines() if "other-" in line]
        return [len(lines), *(sum(what in line for line in lines) for what in ("can't show", "0 remote threads"))]

    assert named() == [10, 10, 0]
    assert named("-v") == named("--verbose") == [60, 30, 30]
    assert "(-v names all)" not in etwdetect("scan", traces, "-v").err


def test_the_page_lists_them_all(etwdetect, traces):
    etwdetect("report", traces, "-o", traces.parent / "page.html")
    text = (traces.parent / "page.html").read_text("utf-8")
    assert all(f"other-{number:02}.etl" in text for number in range(30))


def test_what_is_damaged_is_told_of_every_trace(etwdetect, traces):
    for path in traces.glob("other-*.etl"):
        with path.open("ab") as file:
            file.write(b"\xaa" * 100)
    err = etwdetect("scan", traces).err
    assert all(f"other-{number:02}.etl: offset" in err for number in range(30))


def test_one_input_has_no_sum_and_all_its_lines(etwdetect, traces):
    err = etwdetect("scan", traces / "other-00.etl").err
    assert "has no process or thread events, so it can't show a remote thread" in err
    assert err.splitlines()[-1].endswith("other-00.etl: 0 remote threads in 0 thread starts, 1 event")
    assert "inputs: " not in err


@pytest.mark.parametrize(
    ("events", "buffers", "said"),
    [
        (1, 0, "1 event was lost while"),
        (0, 1, "1 buffer was lost while"),
        (0, 2, "2 buffers were lost while"),
        (1, 1, "1 event and 1 buffer were lost while"),
        (1000, 3, "1,000 events and 3 buffers were lost while"),
    ],
)
def test_what_was_lost_is_told_and_nothing_of_what_was_not(etwdetect, tmp_path, events, buffers, said):
    path = write_trace(tmp_path / "a.etl", attack(), events_lost=events, buffers_lost=buffers)
    assert f"a.etl: {said}" in etwdetect("scan", path).err


class Interrupting:
    """Reads its inputs, and is interrupted at the one with a *number*, *when* it reads it or has read it."""

    def __init__(self, when, number):
        self.when = when
        self.number = number
        self.taken = 0

    def take(self, source):
        self.taken += 1
        for _ in source.detections():
            if self.when == "within" and self.taken == self.number:
                signal.raise_signal(signal.SIGINT)
        if self.when == "behind" and self.taken == self.number:
            raise KeyboardInterrupt

    def close(self, source, failure):  # noqa: ARG002
        if self.when == "between" and self.taken == self.number:
            raise KeyboardInterrupt  # as Python does where no command has taken the signal


@pytest.mark.parametrize("when", ["within", "behind", "between"])
def test_an_interruption_tells_how_many_inputs_were_not_read(tmp_path, capsys, when):
    for number in range(5):
        write_trace(tmp_path / f"{number}.etl", attack())
    inputs, reader = Inputs([tmp_path]), Interrupting(when, 2)
    consume(inputs, reader)
    told = capsys.readouterr().err
    assert reader.taken == 2
    assert "etwdetect: interrupted: 3 of 5 inputs were not read\n" in told
    assert "etwdetect: 5 inputs: 2 with remote threads, 3 not read\n" in told
    assert [each.why for each in inputs.unread] == [
        f"{tmp_path / name}: interrupted before it was read" for name in ("2.etl", "3.etl", "4.etl")
    ]
    assert Status.INCOMPLETE in inputs.statuses


def test_an_interruption_behind_the_last_input_is_told_too(tmp_path, capsys):
    write_trace(tmp_path / "0.etl", attack())
    inputs = Inputs([tmp_path])
    consume(inputs, Interrupting("between", 1))
    assert capsys.readouterr().err == "etwdetect: interrupted\n"
    assert (inputs.unread, inputs.statuses) == ([], [Status.DONE, Status.INCOMPLETE])


def test_a_second_interruption_ends_the_command(tmp_path, monkeypatch):
    write_trace(tmp_path / "0.etl", attack())
    inputs = Inputs([tmp_path])
    inputs.interrupted = True

    def interrupted():
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(inputs, "opened", interrupted)
    with pytest.raises(KeyboardInterrupt):
        consume(inputs, Interrupting("within", 1))
