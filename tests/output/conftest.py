"""Detections to write down."""

from dataclasses import replace

import pytest

from etwdetect.enrich.detection import Detection, Process
from etwdetect.rule import RemoteThread

MIDNIGHT = 132_337_152_000_000_000
"""2020-05-12, 00:00 UTC."""


def at(hours, minutes, milliseconds):
    return MIDNIGHT + ((hours * 60 + minutes) * 60_000 + milliseconds) * 10_000


PLAIN = Detection(RemoteThread(at(13, 8, 15_280), 7392, 4788, 8336, 9384), "etw", Process(7392), Process(8336))


@pytest.fixture
def detection():
    """Make a detection that differs from the book's first line in what is asked for."""

    def make(source_image=None, target_image=None, pointer_size=8, **thread):
        thread = PLAIN.thread._replace(**thread)
        return replace(
            PLAIN,
            thread=thread,
            source=Process(thread.creator_pid, source_image),
            target=Process(thread.pid, target_image),
            pointer_size=pointer_size,
        )

    return make
