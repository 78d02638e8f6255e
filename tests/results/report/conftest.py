"""Detections made by hand, pages of them, and a real browser to look at the pages with."""

import json
from pathlib import Path

import pytest

from etwdetect.core.rule import RemoteThread
from etwdetect.enrich.detection import Detection, Process, Start
from etwdetect.results.report.inputs import ReportInput
from etwdetect.results.report.page import render
from etwdetect.results.report.records import Records
from tests.results.report.browser import start_browser

START = 132_337_624_952_800_000
"""2020-05-12 13:08:15.280 UTC."""
SECOND = 10_000_000

SYSTEM32 = "C:\\Windows\\System32\\"
DEBUGGER = Process(
    7392,
    "C:\\Tools\\windbg.exe",
    "windbg.exe -p 8336",
    4120,
    "C:\\Windows\\explorer.exe",
    "explorer.exe",
    "DESKTOP\\ada",
    1,
    START - 60 * SECOND,
    "047D9E71-9FB4-5EBA-5F3B-589000001CE0",
)
EDITOR = Process(8336, SYSTEM32 + "notepad.exe", start_time=START - 50 * SECOND)
CONSOLE = Process(640, SYSTEM32 + "csrss.exe", start_time=START - 90 * SECOND)
STRANGER = Process(4120, "C:\\Users\\ada\\invoice.exe", start_time=START - 5 * SECOND)
BREAK_IN = Start(SYSTEM32 + "ntdll.dll", 0xCD3F0, "DbgUiRemoteBreakin")

HOSTILE = (
    "escape\x1b[2Jturn\u202egpj.exe",
    "<script>document.title='run'</script>.exe",
    "</script><img src=x onerror=document.title='run'>.exe",
    "<!--<script>.exe",
    "=cmd|'/c calc'!A0.exe",
    "nul\0line\u2028end.exe",
    "long" * 8000 + ".exe",
    "half\ud800pair.exe",
    "{{7*7}}${1}&amp;&lt;.exe",
    "__proto__",
)


def detection(seconds=0.0, source=DEBUGGER, target=EDITOR, **known):
    """A thread that *source* made in *target* so many seconds after START."""
    thread_ids = known.pop("threads", (4788, 9384))
    evidence = known.pop("evidence", ())
    address = known.pop("address", 0x7FFC6E27D3F0)
    time = START + round(seconds * SECOND)
    thread = RemoteThread(time, source.pid, thread_ids[0], target.pid, thread_ids[1], address, evidence)
    return Detection(thread, "etw", source, target, **known)


def attach():
    """A debugger, a console at work, and one thing that is worse; 5 threads of 3 pairs."""
    known = {"kind": "debugger break-in", "reason": "it starts at DbgUiRemoteBreakin", "severity": "low"}
    control = {"kind": "console control", "reason": "csrss.exe made it", "severity": "informational"}
    yield detection(0, start=BREAK_IN, **known)
    yield detection(43.38, start=BREAK_IN, threads=(13092, 13288), **known)
    yield detection(50, CONSOLE, EDITOR, **control, absent=(("StartModule", "no image holds it"),))
    yield detection(51, CONSOLE, EDITOR, **control)
    bad = {"kind": "start outside any image", "severity": "high", "sigma": ("Into Notepad",)}
    yield detection(60, STRANGER, EDITOR, **bad, evidence=("session-start",), address=0x1F2A0000000)


def fleet(rows, hosts):
    """The same few things on many machines, a thread a second."""
    for number in range(rows):
        host = f"PC{number % hosts:02}"
        source = Process(1000 + number % hosts, "C:\\Tools\\agent.exe", start_time=START)
        target = Process(5000 + number % hosts, SYSTEM32 + "notepad.exe", start_time=START)
        known = {"kind": "other", "severity": "medium", "host": host}
        yield detection(number, source, target, threads=(number, number), **known)


def hostile():
    """Each hostile text everywhere that a text can be."""
    for number, name in enumerate(HOSTILE):
        process = Process(100 + number, f"C:\\{name}", name, 1, name, name, name)
        start = Start(name, 1, name)
        words = {"kind": name, "reason": name, "sigma": (name,), "host": name, "absent": (("SourceUser", name),)}
        yield detection(number, process, EDITOR, start=start, severity="high", evidence=(name,), **words)


def origin(**known):
    return ReportInput("trace.etl", **known)


def page_of(detections, origins=(), filtered_out=0):
    records = Records()
    for each in detections:
        records.add(each, 0)
    return render(records, origins or [origin()], "1.2.3", filtered_out)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """The one browser of all tests."""
    browser = start_browser(tmp_path_factory.mktemp("browser"))
    if browser is None:
        pytest.skip("there is no chromium or no chromedriver to look at the page with")
    yield browser
    browser.quit()


class Shown:
    """A page in the browser."""

    def __init__(self, browser, path: Path) -> None:
        self.browser = browser
        self.url = path.as_uri()
        self._loaded = []
        self.open()

    def open(self) -> None:
        self.browser.get("about:blank")
        self.loaded()
        self.browser.get_log("browser")
        self._loaded.clear()
        self.browser.get(self.url)

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def one(self, selector):
        return self.browser.find_element("css selector", selector)

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def texts(self, selector) -> list[str]:
        return [" ".join(each.text.split()) for each in self.all(selector)]

    def column(self, number) -> list[str]:
        """What stands in a column of the table, from 1 on."""
        return self.texts(f"#threads tbody td:nth-child({number})")

    def header(self, key):
        return self.one(f"#threads th[data-key={key}] button")

    def media(self, media="", **features) -> None:
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": listed})

    def complaints(self) -> list[str]:
        return [each["message"] for each in self.browser.get_log("browser")]

    def loaded(self) -> list[str]:
        """The addresses of all that was asked for since the page was opened."""
        messages = (json.loads(each["message"])["message"] for each in self.browser.get_log("performance"))
        self._loaded += [
            each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"
        ]
        return self._loaded


@pytest.fixture
def show(chromium, tmp_path):
    """Open a page in the browser."""

    def opened(html) -> Shown:
        path = tmp_path / "report.html"
        path.write_text(html, encoding="utf-8", newline="")
        return Shown(chromium, path)

    yield opened
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
