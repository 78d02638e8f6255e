"""Where a command expects a file, a named pipe that nobody writes to is refused, not waited for."""

import os
import subprocess

import pytest

from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Detection, Process
from etwdetect.results.record import to_json
from tests.traces_by_writer import START, attack, write_trace

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
SECONDS = 60
PIPES = {
    "a rule for kinds": (("scan", "t.etl", "--rules", "pipe"), 1),
    "a Sigma rule": (("scan", "t.etl", "--sigma", "pipe"), 2),
    "a Sigma rule beside a sound one": (("scan", "t.etl", "--sigma", "sigma"), 0),
    "an input of explain": (("explain", "pipe"), 1),
    "an input of report": (("report", "pipe", "-o", "page.html"), 1),
    "an input of events": (("events", "pipe"), 1),
    "records to compare": (("parity", "compare", "pipe", "pipe"), 1),
    "evidence to compare": (("parity", "compare", "pipe.zip"), 1),
    "a configuration of Sysmon": (
        ("parity", "compare", "sysmon.json", "sysmon.json", "--sysmon-config", "pipe"),
        1,
    ),
    "a configuration": (("monitor", "--config", "pipe"), 1),
    "a scenario": (("parity", "scenarios", "list", "--scenarios", "scenarios"), 1),
    "a secret": (("scan", "t.etl", "--to", "http://127.0.0.1:9/"), 2),
}
RULE = """title: any
logsource: {product: windows, category: create_remote_thread}
detection: {selection: {SourceImage|contains: e}, condition: selection}
"""


@pytest.fixture
def folder(tmp_path):
    write_trace(tmp_path / "t.etl", attack())
    thread = RemoteThread(START, 100, None, 200, 201)
    (tmp_path / "sysmon.json").write_text(to_json(Detection(thread, "sysmon", Process(100), Process(200))) + "\n")
    for name in ("sigma", "scenarios"):
        (tmp_path / name).mkdir()
    (tmp_path / "sigma" / "sound.yml").write_text(RULE)
    for name in ("pipe", "pipe.zip", "sigma/pipe.yml", "scenarios/pipe.toml"):
        os.mkfifo(tmp_path / name)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("kind", PIPES)
def test_a_pipe_is_refused(etwdetect, folder, kind):
    arguments, status = PIPES[kind]
    environment = os.environ | {"ETWDETECT_HTTP_AUTHORIZATION_FILE": str(folder / "pipe")}
    try:
        done = etwdetect(*arguments, cwd=folder, env=environment, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        pytest.fail("it was waited for")
    assert done.status == status, done.err
    assert "not a file" in done.err or "neither a file" in done.err
