"""Decoding one event as the whole decoder does it, with nothing wrong."""

import pytest

from etwdetect.core.raw import RawEvent
from etwdetect.sources.decode import Decoder

TIME = 133_000_000_000_000_000
CREATOR = (111, 222)


@pytest.fixture
def decoded():
    """Decode a payload that nothing is wrong with; the header says thread 222 of process 111."""

    def decode(provider, number, version, payload, pointer_size=8):
        complaints = []
        decoder = Decoder(lambda *complaint: complaints.append(complaint), images=True)
        event_id, opcode = (number, 0) if provider.startswith(b"\xd6") else (0, number)
        raw = RawEvent(provider, event_id, version, opcode, TIME, *CREATOR, pointer_size, payload)
        event = decoder.decode(raw)
        assert complaints == []
        assert not decoder.unknown_versions
        return event

    return decode
