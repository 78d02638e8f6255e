"""One bad input among good ones: a fleet does the others, and tells it in a row."""

import json
from pathlib import Path

import pytest

from tests.cli.test_bad_inputs import FILES
from tests.traces_by_writer import attack, write_trace


@pytest.mark.slow
@pytest.mark.usefixtures("java")
def test_the_good_inputs_are_done_and_each_bad_one_is_a_row(etwdetect, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    for number in (1, 2):
        write_trace(folder / f"good-{number}.etl", attack())
    done = etwdetect("fleet", folder, "-o", tmp_path / "out", "--format", "json", "--master", "local[1]")
    assert done.status == 3
    lines = [line for path in (tmp_path / "out").rglob("*.json") for line in path.read_text().splitlines()]
    rows = [json.loads(line) for line in lines]
    assert {Path(row["Trace"]).name for row in rows if "Trace" in row} == {"good-1.etl", "good-2.etl"}
    told = " ".join(row["file"] for row in rows if "fault" in row)
    assert [name for name in FILES if name not in told] == []
