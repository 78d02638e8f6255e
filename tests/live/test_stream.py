"""What a live stream knows of both processes when a remote thread comes."""

from struct import pack

from etwdetect.core.events import ImageLoad, Loss, ProcessStart, ProcessStop, ThreadStart
from etwdetect.core.raw import PROCESS, RawEvent
from etwdetect.enrich.enricher import Enricher
from etwdetect.live import deferred_images
from etwdetect.live.stream import Stream
from etwdetect.sources.decode import system_trace
from etwdetect.sources.decode.encode import encode

SECOND = 10_000_000
T = 1_000 * SECOND
INJECTOR, TARGET = 10, 20
SYSTEM, DRIVER = 0xFFFF_F802_16C1_0000, 0xFFFF_F802_2000_0000
PATH = "\\Device\\HarddiskVolume4\\injector.exe"


class NoAnswers:
    """The system knows nothing of processes that exited."""

    def observe(self, event):
        pass

    def about(self, _thread, **_asked):
        return ()


def started(time, pid, name):
    """The start of a process as a system logger tells it, with its bare name."""
    layout = system_trace.EVENTS[PROCESS][1].layouts[4]
    payload = layout.pack(8, {"ProcessId": pid, "ImageFileName": name})
    return RawEvent(PROCESS, 0, 4, 1, time, 1, 2, 8, payload)


def image(time, pid, path, base=0x1000):
    return encode(ImageLoad(time, pid, base, 0x100, image=path))[:9]


def detected(raws, images):
    stream = Stream(0, 0, Enricher(source="the session"), NoAnswers())
    stream.add(raws, images, 0.0)
    return list(stream.release())


def test_an_injector_that_has_exited_when_its_hit_is_judged_has_its_path():
    raws = [
        started(T, INJECTOR, "injector.exe"),
        encode(ThreadStart(T + 1, 1, 2, INJECTOR, 11)),
        encode(ThreadStart(T + 9, INJECTOR, 11, TARGET, 21)),
        encode(ProcessStop(T + 20, INJECTOR)),
    ]
    ntdll = image(T + 4, INJECTOR, "\\SystemRoot\\System32\\ntdll.dll", 0x7000)
    (hit,) = detected(raws, [image(T + 3, INJECTOR, PATH), ntdll])
    assert hit.source.image == PATH


def test_a_tap_gets_every_event_in_order_and_changes_no_detection():
    raws = [
        started(T, INJECTOR, "injector.exe"),
        encode(ThreadStart(T + 1, 1, 2, INJECTOR, 11)),
        encode(ThreadStart(T + 9, INJECTOR, 11, TARGET, 21)),
        encode(ProcessStop(T + 20, INJECTOR)),
    ]
    images = [image(T + 3, INJECTOR, PATH), image(T + 2, TARGET, PATH), image(T + 30, TARGET, PATH, 0x9000)]
    tapped = []
    stream = Stream(0, 0, Enricher(source="the session"), NoAnswers(), tapped.extend)
    short = image(T + 4, TARGET, PATH)
    stream.add(list(raws), [*images, (*short[:8], short[8][:9])], 0.0)
    assert list(stream.release()) == detected(list(raws), images)
    assert [event.time - T for event in tapped] == [0, 1, 2, 3, 9, 20, 30]
    assert stream.damaged == 1


def test_images_that_were_forgotten_are_said_to_be(monkeypatch):
    monkeypatch.setattr(deferred_images, "MOST_PROCESSES", 1)
    raws = [encode(ThreadStart(T, INJECTOR, 11, TARGET, 21, 0x1010))]
    (hit,) = detected(raws, [image(T - 9, TARGET, PATH), image(T - 8, 30, PATH)])
    assert dict(hit.absent)["StartModule"] == "there are more images than are remembered"


def with_key(raw, key):
    return raw._replace(start_key=key)


def own_thread(time, tid):
    return encode(ThreadStart(time, INJECTOR, 11, INJECTOR, tid))


def remote_thread(time):
    return encode(ThreadStart(time, INJECTOR, 11, TARGET, 21))


def test_a_creator_with_another_start_key_is_not_the_process_that_had_its_id():
    raws = [
        started(T, INJECTOR, "old.exe"),
        with_key(own_thread(T + 1, 12), 5),
        with_key(remote_thread(T + 9), 6),
    ]
    (hit,) = detected(raws, [image(T + 3, INJECTOR, PATH)])
    assert hit.source.image is None


def test_a_creator_with_the_same_start_key_or_with_none_is_known():
    for first, second in ((5, 5), (None, 5), (5, None)):
        raws = [
            started(T, INJECTOR, "injector.exe"),
            with_key(own_thread(T + 1, 12), first),
            with_key(remote_thread(T + 9), second),
        ]
        (hit,) = detected(raws, [])
        assert hit.source.image == "injector.exe"


def test_a_process_that_is_seen_to_start_has_a_key_of_its_own():
    raws = [
        with_key(own_thread(T + 1, 12), 5),
        started(T + 2, INJECTOR, "new.exe"),
        with_key(remote_thread(T + 9), 6),
    ]
    for order in (raws, raws[::-1]):
        (hit,) = detected(list(order), [])
        assert hit.source.image == "new.exe"


def test_the_images_of_a_creator_with_another_start_key_are_forgotten():
    raws = [with_key(own_thread(T + 1, 12), 5), with_key(remote_thread(T + 9), 6)]
    (hit,) = detected(raws, [image(T, INJECTOR, PATH), image(T + 2, INJECTOR, PATH)])
    assert hit.source.image is None


def test_kernel_frames_are_named_by_the_drivers_that_the_session_saw_and_by_what_the_system_lists():
    class Kernel(NoAnswers):
        def about(self, thread, *, kernel, **_asked):
            return (
                [ImageLoad(thread.time, 0, SYSTEM, 0x1000, image="ntoskrnl.exe", rundown=True)] if kernel else []
            )

    frames = pack("<4Q", 0, DRIVER + 5, SYSTEM + 0x53, 0x7FFC_0000_1000)
    raw = encode(ThreadStart(T, INJECTOR, 11, TARGET, 21))._replace(stacks=((6, frames),))
    stream = Stream(0, 0, Enricher(source="the session"), Kernel())
    stream.add([raw], [image(T - 9, 4, "\\SystemRoot\\new.sys", DRIVER)], 0.0)
    (hit,) = stream.release()
    assert hit.calls.kernel == "\\SystemRoot\\new.sys+5|ntoskrnl.exe+53"


def test_a_session_that_contradicts_itself_says_so():
    stream = Stream(0, 0, Enricher(source="the session"), NoAnswers())
    thread = ThreadStart(T, INJECTOR, 11, TARGET, 21)
    again = ProcessStart(T + 1, 1, 2, TARGET)
    raws = [thread, again, thread._replace(time=T + 2, tid=22), thread._replace(time=T + 3, tid=23)]
    stream.add([encode(event) for event in raws], [], 0.0)
    assert [hit.thread.evidence for hit in stream.release()] == [(), ("second-start",)]
    assert stream.contradictions == {"second-start": 1}
    assert [miss.tid for miss in stream.rule.possible_misses] == [22]


def test_behind_a_loss_a_start_of_a_running_process_is_no_contradiction():
    stream = Stream(0, 0, Enricher(source="the session"), NoAnswers())
    thread = ThreadStart(T, INJECTOR, 11, TARGET, 21)
    stream.add([encode(thread)], [], 0.0)
    list(stream.release())
    stream.lose(Loss(T + 1, 1))
    stream.add([encode(ProcessStart(T + 2, 1, 2, TARGET)), encode(thread._replace(time=T + 3))], [], 0.0)
    assert list(stream.release()) == []
    assert (stream.contradictions, stream.rule.possible_miss_count) == ({}, 0)
