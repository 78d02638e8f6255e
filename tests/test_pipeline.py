"""The order in which rule and enrichment take an event."""

from etwdetect.core.events import ImageLoad, ProcessRundown, ThreadStart
from etwdetect.core.rule import RemoteThreadRule
from etwdetect.enrich.enricher import GRACE_PERIOD, Enricher
from etwdetect.pipeline import Pipeline

REMOTE = ThreadStart(1000, 10, 11, 20, 21, 0x7FF0_0000_1000)


def test_what_looking_around_shows_the_enricher_is_known_of_the_remote_thread():
    enricher = Enricher()

    def look_around(thread):
        enricher.observe(ProcessRundown(thread.time, thread.pid, create_time=1, image="C:\\target.exe"))
        enricher.observe(
            ImageLoad(thread.time, thread.pid, 0x7FF0_0000_0000, 0x10000, image="C:\\a.dll", rundown=True)
        )

    pipeline = Pipeline(RemoteThreadRule(), enricher, look_around)
    hit = pipeline.observe(REMOTE)
    (found,) = pipeline.take()
    assert found.thread == hit
    assert (found.target.image, found.start.module, found.start.offset) == ("C:\\target.exe", "C:\\a.dll", 0x1000)


def test_only_remote_threads_are_looked_around():
    seen = []
    pipeline = Pipeline(RemoteThreadRule(), Enricher(), seen.append)
    own = REMOTE._replace(creator_pid=20)
    assert [pipeline.observe(event) for event in (own, REMOTE, own)][::2] == [None, None]
    assert [thread.tid for thread in seen] == [21]


def test_a_detection_can_be_taken_when_its_grace_period_is_over():
    pipeline = Pipeline(RemoteThreadRule(), Enricher())
    pipeline.observe(REMOTE)
    assert list(pipeline.take(REMOTE.time + GRACE_PERIOD - 1)) == []
    assert len(list(pipeline.take(REMOTE.time + GRACE_PERIOD))) == 1
    assert list(pipeline.take()) == []
