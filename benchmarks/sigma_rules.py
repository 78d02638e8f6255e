"""How fast remote threads are judged by Sigma rules: `python benchmarks/sigma_rules.py [RULES]`.

RULES is a rule file or a directory of them, ../shared/sigma by default. Needs the extra etwdetect[sigma]. Rates
are detections per second; the ratio says what judging costs beside writing the same detections as json. Takes half
a minute.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Detection, Process, Start
from etwdetect.results import record
from etwdetect.results.sigma import load_rules
from etwdetect.results.sigma.matcher import BATCH, SigmaMatcher

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS: Final = 5
COUNT: Final = 50_000
SYSTEM32: Final = r"C:\Windows\System32"
SOURCES: Final = (
    "svchost.exe",
    "csrss.exe",
    "WindowsPowerShell\\v1.0\\powershell.exe",
    "werfault.exe",
    "defrag.exe",
)
TARGETS: Final = ("notepad.exe", "lsass.exe", "cmd.exe", "conhost.exe", "spoolsv.exe", "rundll32.exe", "mstsc.exe")


def process(pid: int, names: tuple[str, ...]) -> Process:
    image = rf"{SYSTEM32}\{names[pid % len(names)]}"
    return Process(
        pid,
        image,
        f'"{image}" -k netsvcs -p -s number{pid}',
        parent_pid=700,
        parent_image=rf"{SYSTEM32}\services.exe",
        parent_command_line=rf"{SYSTEM32}\services.exe",
        user=r"NT AUTHORITY\SYSTEM",
        session_id=1,
        start_time=132_337_152_000_000_000 + pid,
        guid="8ae5a519-0000-5eba-1000-000000000000",
    )


def detection(number: int) -> Detection:
    """Return one with all that can be known, none like the one before; every third starts outside any image."""
    address = 0x7FFC_6E27_0000 + number
    start = Start() if number % 3 == 0 else Start(rf"{SYSTEM32}\ntdll.dll", 0xCD3F0 + number, "DbgUiRemoteBreakin")
    thread = RemoteThread(132_337_152_000_000_000 + number, number, 8, number + 1, 12, address)
    return Detection(thread, "etw", process(number, SOURCES), process(number + 1, TARGETS), start, host="bench")


def rate(run: Callable[[], object], count: int) -> float:
    """Return detections per second of CPU time, the median of RUNS."""
    times = []
    for _ in range(RUNS):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return count / statistics.median(times)


def judge(matcher: SigmaMatcher, detections: list[Detection]) -> int:
    """Return how many of *detections* some rule fires on."""
    judged = [each for given in detections for each in matcher.add(given)]
    judged += matcher.release(None)
    assert len(judged) == len(detections)
    return sum(bool(each.sigma) for each in judged)


def main() -> None:
    default = Path(__file__).resolve().parents[2] / "shared" / "sigma"
    rules = load_rules([Path(sys.argv[1]) if len(sys.argv) > 1 else default])
    detections = [detection(number) for number in range(COUNT)]
    fired = judge(SigmaMatcher(rules), detections)
    print(f"{len(rules.rules)} rules, {COUNT:,} detections, {fired:,} of which a rule fires on")
    written = rate(lambda: [record.to_json(each) for each in detections], COUNT)
    print(f"written as json            {written:9,.0f} a second")
    records = [record.to_dict(each) for each in detections]
    batches = [records[start : start + BATCH] for start in range(0, COUNT, BATCH)]
    alone = rate(lambda: [rules.fired(batch) for batch in batches], COUNT)
    print(f"records, {BATCH} at a time      {alone:9,.0f} a second")
    for batch in (BATCH, 1):
        some = detections[: COUNT // 5] if batch == 1 else detections
        judged = rate(lambda batch=batch, some=some: judge(SigmaMatcher(rules, batch), some), len(some))
        name = f"detections, {batch} at a time"
        print(f"{name:26} {judged:9,.0f} a second, {written / judged:.1f} times what writing it as json takes")


if __name__ == "__main__":
    main()
