"""Stages in a row."""

from dataclasses import replace

from etwdetect.results.stage import Stages


class Held:
    """Gives everything back when it is asked to, with its mark."""

    def __init__(self, mark):
        self.mark = mark
        self.held = []

    def add(self, detection):
        self.held.append(replace(detection, kind=f"{detection.kind or ''}{self.mark}"))
        return ()

    def take(self, now):
        ready = [each for each in self.held if now is None or each.thread.time <= now]
        self.held = [each for each in self.held if each not in ready]
        return ready


class Marked:
    def __init__(self, mark):
        self.mark = mark

    def add(self, detection):
        yield replace(detection, kind=f"{detection.kind or ''}{self.mark}")

    def take(self, now):  # noqa: ARG002
        return ()


def test_without_stages_everything_passes_at_once(detection):
    stages = Stages()
    assert list(stages.add(detection())) == [detection()]
    assert list(stages.take(None)) == []


def test_a_detection_goes_through_all_stages_in_their_order(detection):
    stages = Stages([Marked("a"), Marked("b")])
    assert [each.kind for each in stages.add(detection())] == ["ab"]


def test_what_a_stage_held_goes_through_the_stages_behind_it(detection):
    stages = Stages([Marked("a"), Held("b"), Marked("c"), Held("d")])
    assert list(stages.add(detection(time=5))) == []
    assert list(stages.add(detection(time=9))) == []
    assert [(each.kind, each.thread.time) for each in stages.take(5)] == [("abcd", 5)]
    assert [(each.kind, each.thread.time) for each in stages.take(None)] == [("abcd", 9)]
    assert list(stages.take(None)) == []
