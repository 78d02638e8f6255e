import struct

from etwdetect.live.sessions import enabled_in

ALL = 0x70


def info(*instances):
    """TRACE_GUID_INFO of these TRACE_PROVIDER_INSTANCE_INFOs, each a list of (enabled, level, session, any)."""
    packed = struct.pack("<II", len(instances), 0)
    for number, enabled in enumerate(instances):
        body = b"".join(
            struct.pack("<IBBHIIQQ", on, level, 0, logger, 0, 0, keywords, 0)
            for on, level, logger, keywords in enabled
        )
        last = number == len(instances) - 1
        packed += struct.pack("<IIII", 0 if last else 16 + len(body), len(enabled), 4, 0) + body
    return packed


def test_a_provider_that_is_not_registered_is_enabled_nowhere():
    assert enabled_in(b"") == set()
    assert enabled_in(info()) == set()


def test_it_is_enabled_in_each_session_that_has_all_keywords_and_the_level():
    assert enabled_in(info([(1, 4, 7, ALL), (1, 5, 9, 0xFFFF)], [(1, 4, 12, ALL)])) == {7, 9, 12}


def test_less_than_what_we_asked_for_is_not_enabled():
    assert enabled_in(info([(0, 4, 7, ALL), (1, 3, 8, ALL), (1, 4, 9, 0x30)])) == set()
