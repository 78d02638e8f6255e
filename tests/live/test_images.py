"""Image events that are read in fewer steps are what the decoder makes of them."""

import struct

from hypothesis import example, given
from hypothesis import strategies as st

from etwdetect.core.events import ImageLoad, ImageUnload
from etwdetect.core.raw import IMAGE, KERNEL_PROCESS
from etwdetect.live.callback import raw_event
from etwdetect.live.images import image_event
from etwdetect.sources.decode import Decoder

NAME = "\\Device\\HarddiskVolume3\\Windows\\System32\\kernel32.dll"
FIXED = struct.pack("<QQIIIQ", 0x7FF812340000, 0x1000, 4711, 5, 6, 7)


def fields_of(event_id, payload, provider=KERNEL_PROCESS, version=0, pointer_size=8):
    return provider, event_id, version, 0, 1000, 1, 2, pointer_size, payload


def test_a_mapping_and_an_unmapping_are_read():
    payload = FIXED + f"{NAME}\0".encode("utf-16-le")
    assert image_event(fields_of(5, payload)) == ImageLoad(1000, 4711, 0x7FF812340000, 0x1000, 5, 6, NAME)
    assert image_event(fields_of(6, payload)) == ImageUnload(1000, 4711, 0x7FF812340000, 0x1000, NAME)


def test_what_is_not_as_usual_is_left_to_the_decoder():
    payload = FIXED + b"x\0\0\0"
    assert image_event(fields_of(5, FIXED)) is None
    assert image_event(fields_of(5, payload, version=1)) is None
    assert image_event(fields_of(0, payload, provider=IMAGE)) is None
    assert image_event(fields_of(5, FIXED + b"x\0" * 300)) is None


@given(st.sampled_from((5, 6)), st.sampled_from((4, 8)), st.binary(max_size=80))
@example(5, 8, FIXED + b"\0")
@example(5, 4, bytes(24) + b"\0\xd8\0\0")
def test_what_is_read_is_what_the_decoder_reads(event_id, pointer_size, payload):
    fields = fields_of(event_id, payload, pointer_size=pointer_size)
    found = image_event(fields)
    decoded = Decoder(lambda *_: None, images=True).decode(raw_event(fields))
    assert found is None or (found, type(found)) == (decoded, type(decoded))
