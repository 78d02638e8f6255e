"""ProcessorChain in a row."""

from dataclasses import replace

from etwdetect.results.processors import ProcessorChain


class Held:
    """Gives everything back when it is asked to, with its mark."""

    def __init__(self, mark):
        self.mark = mark
        self.held = []

    def add(self, detection):
        self.held.append(replace(detection, kind=f"{detection.kind or ''}{self.mark}"))
        return ()

    def release(self, now):
        ready = [each for each in self.held if now is None or each.thread.time <= now]
        self.held = [each for each in self.held if each not in ready]
        return ready


class Marked:
    def __init__(self, mark):
        self.mark = mark

    def add(self, detection):
        yield replace(detection, kind=f"{detection.kind or ''}{self.mark}")

    def release(self, now):  # noqa: ARG002
        return ()


def test_without_processors_everything_passes_at_once(detection):
    chain = ProcessorChain()
    assert list(chain.add(detection())) == [detection()]
    assert list(chain.release(None)) == []


def test_a_detection_goes_through_all_processors_in_their_order(detection):
    chain = ProcessorChain([Marked("a"), Marked("b")])
    assert [each.kind for each in chain.add(detection())] == ["ab"]


def test_what_a_processor_held_goes_through_the_processors_behind_it(detection):
    chain = ProcessorChain([Marked("a"), Held("b"), Marked("c"), Held("d")])
    assert list(chain.add(detection(time=5))) == []
    assert list(chain.add(detection(time=9))) == []
    assert [(each.kind, each.thread.time) for each in chain.release(5)] == [("abcd", 5)]
    assert [(each.kind, each.thread.time) for each in chain.release(None)] == [("abcd", 9)]
    assert list(chain.release(None)) == []
