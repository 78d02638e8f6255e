"""The names of processes in whole traces of the NT Kernel Logger, from wherever in the trace they are told."""

import io

import pytest

from etwdetect.cli import main
from etwdetect.core.events import UNKNOWN_ID
from etwdetect.core.raw import IMAGE, PROCESS, THREAD, RawEvent
from etwdetect.offline import Scan
from etwdetect.sources.decode import system_trace
from etwdetect.sources.etl.reader import Trace
from etwdetect.sources.etl.writer import TraceOptions, TraceWriter
from tests.bytes_by_hand import ANCHOR, buffer, extended_item, first_buffer, thread_start

START = 132_337_152_000_000_000
SECOND = 10_000_000
HIT = START + 60 * SECOND
USER = bytes.fromhex("0105000000000005150000000100000002000000030000 00e9030000")
FOLDER = "\\Device\\HarddiskVolume4\\Users\\u\\"
SYSTEM32 = "\\Device\\HarddiskVolume3\\Windows\\System32\\"
INJECTOR, TARGET, SHELL = 1000, 700, 600
VERSIONS = pytest.mark.parametrize(("version", "size"), [(v, s) for v in range(5) for s in (4, 8)])

_START, _END, _DC_START, _DC_END = 1, 2, 3, 4
_LOAD, _UNLOAD = 10, 2


class Machine:
    """Writes the events of a kernel logger in one version and pointer size, and scans them."""

    def __init__(self, version=4, size=8):
        self.version, self.size, self.raws = version, size, []

    def _log(self, provider, opcode, version, time, values, *, pid=UNKNOWN_ID, tid=UNKNOWN_ID):
        layouts = system_trace.EVENTS[provider][opcode].layouts
        payload = layouts[min(version, len(layouts) - 1)].pack(self.size, values)
        self.raws.append(RawEvent(provider, 0, version, opcode, time, pid, tid, self.size, payload))

    def process(self, opcode, time, pid, name, *, creator=SHELL, **values):
        fields = {"ProcessId": pid, "ParentId": SHELL, "SessionId": 1, "UserSID": USER, "ImageFileName": name}
        fields["CommandLine"] = f"{name} --go"
        header = {"pid": creator, "tid": creator + 4} if opcode == _START else {}
        self._log(PROCESS, opcode, self.version, time, fields | values, **header)

    def thread(self, time, creator, pid, tid):
        ids = {"ProcessId": pid, "TThreadId": tid}
        self._log(THREAD, _START, 3, time, ids, pid=creator, tid=creator + 4)

    def image(self, opcode, time, pid, path, base=0x1400_0000, *, size=0x1_0000):
        fields = {"ProcessId": pid, "ImageBase": base, "ImageSize": size, "ImageName": path}
        self._log(IMAGE, opcode, 2, time, fields, pid=pid, tid=pid + 4)

    def born(self, time, pid, name, path=None, creator=SHELL):
        """A process starts, gets its first thread, and maps its program and ntdll.dll."""
        self.process(_START, time, pid, name, creator=creator)
        self.thread(time + 5, creator, pid, pid + 4)
        if path:
            self.image(_LOAD, time + 6, pid, path)
            self.image(_LOAD, time + 7, pid, SYSTEM32 + "ntdll.dll", 0x7000_0000)

    def gone(self, time, pid, name, path=None):
        """Windows unmaps the images of a process and tells of its end."""
        if path:
            self.image(_UNLOAD, time, pid, path)
            self.image(_UNLOAD, time + 1, pid, SYSTEM32 + "ntdll.dll", 0x7000_0000)
        self.process(_END, time + 2, pid, name)

    def trace(self):
        options = TraceOptions(START, pointer_size=self.size, cpus=2)
        file = io.BytesIO()
        with TraceWriter(file, options) as writer:
            for number, raw in enumerate(self.raws):
                writer.write(raw, cpu=number % 2)
        return file.getvalue()

    def hits(self, **options):
        scan = Scan([Trace(io.BytesIO(self.trace()), "names.etl")], **options)
        found = list(scan.detections())
        assert scan.result().damages == 0
        return found

    def hit(self, **options):
        (found,) = self.hits(**options)
        return found


@VERSIONS
def test_an_injector_that_exits_at_once_keeps_its_path_and_so_does_a_target(version, size):
    machine = Machine(version, size)
    machine.born(HIT - 50, INJECTOR, "injector.exe", FOLDER + "injector.exe")
    machine.born(HIT - SECOND, TARGET, "target.exe", FOLDER + "target.exe")
    machine.thread(HIT, INJECTOR, TARGET, 9)
    machine.gone(HIT + SECOND // 10, INJECTOR, "injector.exe", FOLDER + "injector.exe")
    machine.gone(HIT + SECOND // 5, TARGET, "target.exe", FOLDER + "target.exe")
    hit = machine.hit()
    assert (hit.source.image, hit.target.image) == (FOLDER + "injector.exe", FOLDER + "target.exe")


def test_each_life_of_an_id_has_its_own_path():
    machine = Machine()
    for number, name in enumerate(("a.exe", "b.scr", "a.exe")):
        at = HIT + number * 10 * SECOND
        path = f"{FOLDER}{number}\\{name}"
        machine.born(at, INJECTOR, name, path)
        machine.thread(at + 100, INJECTOR, TARGET, 9 + number)
        machine.gone(at + 200, INJECTOR, name, path)
    assert [hit.source.image for hit in machine.hits()] == [
        FOLDER + "0\\a.exe", FOLDER + "1\\b.scr", FOLDER + "2\\a.exe",
    ]  # fmt: skip


@VERSIONS
def test_the_paths_of_a_rundown_at_the_end_name_the_programs_that_were_there_all_along(version, size):
    machine = Machine(version, size)
    machine.thread(HIT, SHELL, TARGET, 9)
    end = HIT + 100 * SECOND
    for pid, name in ((SHELL, "powershell.exe"), (TARGET, "lsass.exe")):
        machine.process(_DC_END, end, pid, name)
        machine.image(_DC_END, end + 1, pid, SYSTEM32 + name)
        machine.image(_DC_END, end + 2, pid, SYSTEM32 + "ntdll.dll", 0x7000_0000)
    hit = machine.hit()
    assert (hit.source.image, hit.target.image) == (
        "C:\\Windows\\System32\\powershell.exe",
        "C:\\Windows\\System32\\lsass.exe",
    )


@pytest.mark.parametrize("disturbance", ["start", "end"])
def test_a_rundown_at_the_end_does_not_name_an_earlier_life(disturbance):
    machine = Machine()
    machine.process(_DC_START, START + 1, SHELL, "cmd.exe")
    machine.thread(HIT, SHELL, TARGET, 9)
    if disturbance == "end":
        machine.gone(HIT + 10 * SECOND, SHELL, "cmd.exe")
    else:
        machine.process(_START, HIT + 10 * SECOND, SHELL, "cmd.exe")
    machine.image(_DC_END, HIT + 100 * SECOND, SHELL, FOLDER + "later\\cmd.exe")
    assert machine.hit().source.image == "cmd.exe"


@VERSIONS
def test_what_stands_in_the_end_of_a_process_alone_is_told(version, size):
    machine = Machine(version, size)
    machine.thread(HIT, INJECTOR, TARGET, 9)
    machine.gone(HIT + 5 * SECOND, INJECTOR, "injector.exe", FOLDER + "injector.exe")
    source = machine.hit().source
    assert (source.image, source.user) == (FOLDER + "injector.exe", "S-1-5-21-1-2-3-1001")
    assert source.command_line == ("injector.exe --go" if version >= 2 else None)
    assert (source.parent_pid, source.session_id) == (SHELL, 1 if version else None)


def test_an_end_in_the_tick_of_the_hit_names_it():
    machine = Machine()
    machine.thread(HIT, INJECTOR, TARGET, 9)
    machine.process(_END, HIT, INJECTOR, "injector.exe")
    assert machine.hit().source.image == "injector.exe"


def test_images_that_are_unmapped_in_the_tick_of_the_exit_tell_the_path():
    """A coarse clock gives all of an exit one time."""
    machine = Machine()
    machine.thread(HIT, INJECTOR, TARGET, 9)
    machine.image(_UNLOAD, HIT + SECOND, INJECTOR, FOLDER + "injector.exe")
    machine.process(_END, HIT + SECOND, INJECTOR, "injector.exe")
    assert machine.hit().source.image == FOLDER + "injector.exe"


def test_an_image_of_an_earlier_life_that_goes_in_the_tick_of_the_next_one_names_it_not():
    machine = Machine()
    machine.process(_END, HIT, INJECTOR, "injector.exe")
    machine.born(HIT, INJECTOR, "injector.exe")
    machine.image(_UNLOAD, HIT, INJECTOR, FOLDER + "earlier\\injector.exe")
    machine.thread(HIT + 10, INJECTOR, TARGET, 9)
    assert machine.hit().source.image == "injector.exe"


def test_the_end_of_a_later_life_names_no_earlier_one():
    machine = Machine()
    machine.thread(HIT, INJECTOR, TARGET, 9)
    machine.born(HIT + SECOND, INJECTOR, "later.exe", FOLDER + "later.exe")
    machine.gone(HIT + 2 * SECOND, INJECTOR, "later.exe", FOLDER + "later.exe")
    assert machine.hit().source.image is None


def test_the_end_of_an_earlier_life_names_no_later_one():
    machine = Machine()
    machine.process(_END, HIT - SECOND, INJECTOR, "earlier.exe")
    machine.thread(HIT, INJECTOR, TARGET, 9)
    machine.process(_END, HIT + SECOND, INJECTOR, "later.exe")
    assert machine.hit().source.image in {None, "later.exe"}


@pytest.mark.parametrize("name", ["saver.scr", "is-4P7QB.tmp", "more.com", "payload.bin", "noextension"])
def test_a_program_need_not_be_called_exe(name):
    machine = Machine()
    machine.born(HIT - 50, INJECTOR, name, FOLDER + name)
    machine.thread(HIT, INJECTOR, TARGET, 9)
    assert machine.hit().source.image == FOLDER + name


@pytest.mark.parametrize("kept", [14, 15])
def test_a_name_that_the_kernel_cut_is_completed_by_the_image(kept):
    machine = Machine()
    name = "SearchProtocolHost.exe"
    machine.born(HIT - 50, INJECTOR, name[:kept], SYSTEM32 + name)
    machine.thread(HIT, INJECTOR, TARGET, 9)
    assert machine.hit().source.image == "C:\\Windows\\System32\\" + name


@pytest.mark.parametrize(
    ("told", "file"),
    [
        ("\\xef\\xf0\\xee\\xe3.exe", "прог.exe"),  # cp1251
        ("\\x83\\x5c\\x83t\\x83g.exe", "ソフト.exe"),  # cp932: half of its first letter is a backslash
        ("\\xd0\\xbf\\xd1\\x80.exe", "пр.exe"),  # UTF-8
        ("????.exe", "прог.exe"),  # no letter of the code page
    ],
)
def test_a_name_in_a_code_page_is_completed_by_the_image_or_stays_one_name(told, file):
    machine = Machine()
    machine.born(HIT - 50, INJECTOR, told, FOLDER + file)
    machine.thread(HIT, INJECTOR, TARGET, 9)
    assert machine.hit().source.image == FOLDER + file
    machine = Machine()
    machine.born(HIT - 50, INJECTOR, told)
    machine.thread(HIT, INJECTOR, TARGET, 9)
    assert machine.hit().source.image == told


def test_the_first_image_of_the_name_is_the_program_whatever_is_mapped_later():
    machine = Machine()
    machine.born(HIT - 50, INJECTOR, "svchost.exe", FOLDER + "svchost.exe")
    machine.image(_LOAD, HIT - 10, INJECTOR, SYSTEM32 + "svchost.exe", 0x5000_0000)
    machine.thread(HIT, INJECTOR, TARGET, 9)
    machine.image(_LOAD, HIT + 10, INJECTOR, SYSTEM32 + "svchost.exe", 0x6000_0000)
    assert machine.hit().source.image == FOLDER + "svchost.exe"


@pytest.mark.parametrize("listed", ["start", "end", "never"])
def test_a_process_that_is_older_does_not_get_the_path_of_what_it_maps_now(listed):
    machine = Machine()
    machine.process(_DC_START, START + 1, INJECTOR, "svchost.exe")
    if listed == "start":
        machine.image(_DC_START, START + 2, INJECTOR, FOLDER + "svchost.exe")
    machine.image(_LOAD, HIT - 10, INJECTOR, SYSTEM32 + "svchost.exe", 0x5000_0000)
    machine.thread(HIT, INJECTOR, TARGET, 9)
    if listed == "end":
        machine.image(_DC_END, HIT + 100 * SECOND, INJECTOR, SYSTEM32 + "svchost.exe", 0x5000_0000)
        machine.image(_DC_END, HIT + 100 * SECOND, INJECTOR, FOLDER + "svchost.exe")
    expected = "svchost.exe" if listed == "never" else FOLDER + "svchost.exe"
    assert machine.hit().source.image == expected


def test_a_process_whose_start_is_missing_has_the_path_of_the_image_mapped_right_before_ntdll():
    machine = Machine()
    machine.image(_LOAD, HIT - 20, INJECTOR, FOLDER + "a.exe")
    machine.image(_LOAD, HIT - 19, INJECTOR, SYSTEM32 + "ntdll.dll", 0x7000_0000)
    machine.thread(HIT, INJECTOR, TARGET, 9)
    machine.process(_DC_END, HIT + 100 * SECOND, INJECTOR, "a.exe")
    assert machine.hit().source.image == FOLDER + "a.exe"


def test_a_parent_has_its_path_though_it_exited_after_it_started_its_child():
    machine = Machine()
    machine.born(HIT - 3 * SECOND, 800, "dropper.exe", FOLDER + "dropper.exe")
    machine.process(_START, HIT - 2 * SECOND, INJECTOR, "injector.exe", ParentId=800, creator=800)
    machine.thread(HIT - 2 * SECOND + 5, 800, INJECTOR, 5)
    machine.gone(HIT - SECOND, 800, "dropper.exe", FOLDER + "dropper.exe")
    machine.thread(HIT, INJECTOR, TARGET, 9)
    assert machine.hit().source.parent_image == FOLDER + "dropper.exe"


# -- drives


def with_a_path_on(volume="\\Device\\HarddiskVolume3"):
    machine = Machine()
    machine.born(HIT - 50, INJECTOR, "injector.exe", volume + "\\Users\\u\\injector.exe")
    machine.thread(HIT, INJECTOR, TARGET, 9)
    return machine


def test_a_path_has_an_assumed_drive_and_the_record_says_so():
    hit = with_a_path_on().hit()
    assert (hit.source.image, hit.assumed_drive) == ("C:\\Users\\u\\injector.exe", "C:=\\Device\\HarddiskVolume3")


def test_a_path_on_another_volume_has_none_and_the_record_says_nothing():
    hit = with_a_path_on("\\Device\\HarddiskVolume4").hit()
    assert (hit.source.image, hit.assumed_drive) == ("\\Device\\HarddiskVolume4\\Users\\u\\injector.exe", None)


def test_a_path_has_the_drive_that_a_user_gives():
    hit = with_a_path_on().hit(drives=(("\\Device\\HarddiskVolume3", "E:"),))
    assert (hit.source.image, hit.assumed_drive) == ("E:\\Users\\u\\injector.exe", None)


@pytest.mark.parametrize("command", ["scan", "explain", "report"])
def test_the_command_line_takes_drives(command, tmp_path, capsys):
    trace = tmp_path / "names.etl"
    trace.write_bytes(with_a_path_on("\\Device\\HarddiskVolume4").trace())
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nname = "any"\nkind = "any"\nreason = "{SourceImage}"\nwhen = {}\n')
    output = {"scan": ["--format", "json"], "report": ["--output", str(tmp_path / "page.html")]}
    output["explain"] = ["--rules", str(rules)]
    status = main([command, str(trace), *output[command], "--drive", "x:=\\Device\\HarddiskVolume4"])
    page = tmp_path / "page.html"
    shown = page.read_text("utf-8") if command == "report" else capsys.readouterr().out
    assert status == 0
    assert "X:\\Users\\u\\injector.exe" in shown.replace("\\\\", "\\")


def test_what_is_no_drive_is_a_usage_error(capsys):
    assert main(["scan", "x.etl", "--drive", "C"]) == 2
    assert "such as C:=\\Device\\HarddiskVolume3" in capsys.readouterr().err


# -- contradictions


def test_a_rundown_that_renames_a_process_is_told_once_and_marked(tmp_path, capsys):
    machine = Machine()
    machine.born(HIT - 2 * SECOND, INJECTOR, "evil.exe")
    machine.process(_DC_START, HIT - SECOND, INJECTOR, "csrss.exe")
    machine.thread(HIT, INJECTOR, TARGET, 9)
    trace = tmp_path / "forged.etl"
    trace.write_bytes(machine.trace())
    assert main(["scan", str(trace)]) == 0
    shown = capsys.readouterr()
    assert "[renamed]" in shown.out
    assert shown.err.count("1 event gave a process another name") == 1


# -- containers

LATER = ANCHOR + 60 * SECOND
CONTAINER = "0f5fb4d8-0c1a-4f2b-9f6a-000000000001"


@pytest.mark.parametrize(
    ("items", "container"),
    [
        ([(16, CONTAINER.encode())], CONTAINER),
        ([(7, bytes(9)), (16, CONTAINER.encode() + b"\0"), (13, bytes(8))], CONTAINER),
        ([(16, b"\xff\x1b")], "\\xff\x1b"),
        ([(16, b"")], None),
        ([(16, b"a" * 65)], None),  # no id is as long
        ([(7, bytes(8))], None),
    ],
    ids=["alone", "among others", "not ASCII", "empty", "too long", "another item"],
)
def test_the_container_of_the_source_is_told_where_the_event_has_it(items, container):
    last = len(items) - 1
    extended = b"".join(
        extended_item(data, more=number < last, item_type=kind) for number, (kind, data) in enumerate(items)
    )
    remote = thread_start((10, 11), 20, 21, time=LATER, extended=extended)
    own = thread_start((20, 21), 20, 22, time=LATER + 1)
    other = thread_start((10, 11), 20, 23, time=LATER + 2)
    data = first_buffer() + buffer(remote, own, other)
    found = list(Scan([Trace(io.BytesIO(data), "containers.etl")]).detections())
    assert [hit.container for hit in found] == [container, None]


def test_the_events_of_a_trace_keep_the_container(tmp_path, capsys):
    extended = extended_item(CONTAINER.encode(), item_type=16)
    trace = tmp_path / "containers.etl"
    trace.write_bytes(first_buffer() + buffer(thread_start((10, 11), 20, 21, time=LATER, extended=extended)))
    assert main(["events", str(trace), "-o", str(tmp_path / "events.jsonl")]) == 0
    assert main(["scan", str(tmp_path / "events.jsonl"), "--format", "json"]) == 0
    assert f'"Container": "{CONTAINER}"' in capsys.readouterr().out
