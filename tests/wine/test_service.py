"""The monitor as a service, under Wine's service manager."""

import os
from pathlib import Path

from parity_tests.simulators.build import make
from tests.windows_cpython import run_tests
from tools.windows_lab.wine import windows_path

ROOT = Path(__file__).resolve().parents[2]
MACHINE = r"HKLM\SOFTWARE\simetw"


def test_the_commands(lab):
    assert make(ROOT / "simetw").returncode == 0
    run_tests(lab, Path(__file__).parent / "inside" / "monitor_service.py", simetw="service")


def test_it_runs_again_after_a_reboot(lab, tmp_path):
    assert make(ROOT / "simetw").returncode == 0
    config, output = tmp_path / "service.toml", tmp_path / "hits.json"
    config.write_text(f"format = 'json'\noutput = '{windows_path(output)}'\n")

    def service(*arguments):
        ran = lab.run_python("-m", "etwdetect", "service", *arguments)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    lab.run("reg", "add", MACHINE, "/v", "Machine", "/d", f"reboot-{os.getpid()}", "/f")
    try:
        service("install", "--config", windows_path(config))
        service("start")
        lab.prefix.stop_server()  # nobody is told: the power is gone
        lab.prefix.start_server()
        ran = lab.run_python("-c", WAIT)
        assert ran.returncode == 0, ran.stderr
        assert service("status").startswith("etwdetect: running\n")
        service("stop")
    finally:
        lab.run_python("-m", "etwdetect", "service", "uninstall")
        lab.run("reg", "delete", MACHINE, "/f")
    said = [line.split(" ", 1)[1] for line in (tmp_path / "service.log").read_text().splitlines()]
    assert sum(line.startswith("the service runs: ") for line in said) == 2
    assert said[-1] == "the service ends, as it was told, with exit status 0"


WAIT = """
from etwdetect.windows import services
import sys, time
deadline = time.monotonic() + 50
while services.state("etwdetect") != services.State.RUNNING:
    if time.monotonic() > deadline:
        sys.exit("the service does not run")
    time.sleep(0.1)
"""
