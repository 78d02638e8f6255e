"""What a report of 100,000 remote threads costs: `python benchmarks/report.py [NUMBER]`.

Makes saved results with 2,500 pairs of 1,500 processes and 4,000 start addresses, has `etwdetect report` write the
page, and opens, sorts and filters it in Chromium, if there is one. Each in a process of its own.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Detection, Process, Start
from etwdetect.results.record import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
START: Final = 132_337_624_952_800_000
NTDLL: Final = "C:\\Windows\\System32\\ntdll.dll"
SEVERITY_OF: Final = {
    "console control": "informational",
    "kernel-mode start": "low",
    "debugger break-in": "low",
    "other": "medium",
    "start outside any image": "high",
}
WEIGHTS: Final = (60, 20, 15, 4, 0.1)
COLUMNS: Final = ("severity", "kind", "source", "target", "start", "signs", "time")

SORT: Final = """
    const button = document.querySelector(`#threads th[data-key=${arguments[0]}] button`);
    const begun = performance.now();
    button.click();
    document.body.offsetHeight;  // the new rows are laid out, too
    return performance.now() - begun;"""
FILTER: Final = """
    const form = document.querySelector("form.filters");
    form.elements.text.value = arguments[0];
    const begun = performance.now();
    form.requestSubmit();
    document.body.offsetHeight;
    return performance.now() - begun;"""


def detections(number: int) -> Iterator[Detection]:
    random.seed(1)
    programs = [f"program{each}.exe" for each in range(60)]
    processes = [
        Process(
            4 * pid,
            f"C:\\Program Files\\Vendor\\{random.choice(programs)}",
            f"program.exe --id {pid} --token {random.getrandbits(64):x}",
            700,
            "C:\\Windows\\System32\\services.exe",
            None,
            "NT AUTHORITY\\SYSTEM",
            0,
            START - pid,
        )
        for pid in range(1, 1_501)
    ]
    pairs = [random.sample(processes, 2) for _ in range(2_500)]
    ticks = 0
    for _ in range(number):
        ticks += random.randrange(10_000_000)
        source, target = pairs[min(int(random.paretovariate(0.6)), len(pairs) - 1)]
        kind = random.choices(tuple(SEVERITY_OF), WEIGHTS)[0]
        offset = 16 * random.randrange(4_000)
        tids = random.randrange(4, 65_536, 4), random.randrange(4, 65_536, 4)
        thread = RemoteThread(START + ticks, source.pid, tids[0], target.pid, tids[1], 0x7FFC00000000 + offset)
        start = Start(NTDLL, offset, f"Function{offset}" if offset % 256 == 0 else None)
        known = {"kind": kind, "reason": f"the reason for {kind}", "severity": SEVERITY_OF[kind]}
        yield Detection(thread, "etw", source, target, start, **known)


def in_browser(page: Path, profile: Path) -> None:
    sys.path.append(str(ROOT))
    from tests.results.report.browser import start_browser

    browser: Any = start_browser(profile)
    if browser is None:
        print("no chromium, or no chromedriver: the page was not opened")
        return
    try:
        began = time.perf_counter()
        browser.get(page.as_uri())
        print(f"to open it in the browser   {time.perf_counter() - began:6.2f} s")
        for column in COLUMNS:
            print(f"to sort it by {column:13} {browser.execute_script(SORT, column):6.0f} ms")
        for words in ("program7", "program7 console", "12345", ""):
            shown = f"to filter it by {words or 'nothing'!r:24}"
            print(f"{shown} {browser.execute_script(FILTER, words):6.0f} ms, charts included")
    finally:
        browser.quit()


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        saved, page = folder / "saved.json", folder / "report.html"
        saved.write_text("".join(f"{to_json(each)}\n" for each in detections(number)), "ascii")
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "etwdetect", "report", saved, "-o", page], check=True, cwd=ROOT)
        seconds = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor = f"{used.ru_utime + used.ru_stime:.2f} s of the processor"
        print(f"{number:,} remote threads, {saved.stat().st_size / 1e6:.1f} MB of saved results")
        print(
            f"to write the page           {seconds:6.2f} s, {processor}, {used.ru_maxrss / 1024:.0f} MiB of memory"
        )
        print(f"the page                    {page.stat().st_size / 1e6:6.2f} MB")
        in_browser(page, folder / "profile")


if __name__ == "__main__":
    main()
