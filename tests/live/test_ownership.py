import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.live.ownership import Owner, name_of, orphaned, owner_of

MONITOR = Owner("monitor", 4711, 1_763_900_000_123)
RECORD = Owner("record", 4712, 1_763_900_000_124)


@given(st.builds(Owner, st.sampled_from(["monitor", "record"]), st.integers(0, 2**32 - 1), st.integers(0, 10**15)))
def test_a_name_tells_its_owner(owner):
    assert owner_of(name_of(owner)) == owner


@pytest.mark.parametrize(
    "name",
    [
        "NT Kernel Logger",
        "",
        "etwdetect",
        "etwdetect-monitor",
        "etwdetect-monitor-4711",
        "etwdetect-monitor-x-1",
        "my etwdetect-monitor-4711-1",
        "etwdetect-monitor-4711-1-old",
        "etwdetect-monitor-4711-1\n",
    ],
)
def test_other_names_are_nobodys(name):
    assert owner_of(name) is None


def test_only_a_session_of_ours_whose_process_has_gone_is_leaked():
    names = ["NT Kernel Logger", name_of(MONITOR), name_of(RECORD), "etwdetect-x"]
    assert list(orphaned(names, is_running=lambda owner: owner == MONITOR)) == [name_of(RECORD)]
