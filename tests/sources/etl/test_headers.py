"""Headers read in columns say what they say read one by one, and those that can't be are left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

np = pytest.importorskip("numpy")

from etwdetect.core.raw import KERNEL_PROCESS  # noqa: E402 (numpy may be missing)
from etwdetect.sources.etl import logfile, records  # noqa: E402
from etwdetect.sources.etl.clock import ClockConversion  # noqa: E402
from etwdetect.sources.etl.headers import read_headers  # noqa: E402
from tests.bytes_by_hand import START_TIME, event_header_record, extended_item, logfile_payload  # noqa: E402

CLOCK = ClockConversion(logfile.parse(logfile_payload(clock=2)), anchor=START_TIME)
PAYLOAD = b"PAYLOAD!"
KEY = b"\x01\0\0\0\0\0\0\xff"


def headers_of(record, behind=64):
    """Return the columns of one *record*, which stands in a window with so many bytes *behind* it."""
    return read_headers(bytearray(bytes(8) + record + b"\xff" * behind), np.array([8]), CLOCK)


def test_a_start_key_alone_leaves_a_header_plain():
    keyed, keyless = (True, 0xFF00_0000_0000_0001, 8 + 96), (False, 0, 8 + 80)
    for reserved, expected in (0, keyed), (0xFFFE, keyed), (None, keyless):
        item = b"" if reserved is None else extended_item(KEY, item_type=13, more=reserved)
        found = headers_of(event_header_record(KERNEL_PROCESS, 3, PAYLOAD, extended=item))
        assert found.plain.all()
        assert (found.has_key[0], found.start_key[0], found.body[0]) == expected


items = st.builds(
    extended_item,
    st.sampled_from((KEY, bytes(8), bytes(7), bytes(16), b"")),
    more=st.sampled_from((0, 0, 1, 2)),
    whole=st.sampled_from((None, None, 0, 8, 16, 24)),
    data_size=st.sampled_from((None, None, 7, 8)),
    item_type=st.sampled_from((13, 13, 13, 16, 5)),
)


@given(
    st.lists(items, max_size=2),
    st.sampled_from((b"", PAYLOAD)),
    st.sampled_from((0, 1, 0x20, 0x41)),
    st.one_of(st.none(), st.integers(80, 104)),
    st.sampled_from((0, 8, 64)),
)
def test_a_plain_header_says_what_it_says_alone(extended, payload, flags, size, behind):
    record = event_header_record(
        KERNEL_PROCESS, 3, payload, version=1, pid=7, tid=9, flags=flags, extended=b"".join(extended), size=size
    )
    if size is not None and size > len(record):
        return
    found = headers_of(record, behind)
    if not found.plain[0]:
        assert flags & 1 or extended
        return
    alone = records.read(record, 0, CLOCK, 0)
    key = int(found.start_key[0]) if found.has_key[0] else None
    assert (key, alone.container, alone.stacks) == (alone.start_key, None, ())
    body, end = found.body[0] - 8, found.at[0] - 8 + found.size[0]
    assert record[body:end] == alone.payload
    read = found.time[0], found.pid[0], found.tid[0], found.id[0], found.version[0], found.pointer_size[0]
    assert read == (alone.time, alone.pid, alone.tid, alone.id, alone.version, alone.pointer_size)
