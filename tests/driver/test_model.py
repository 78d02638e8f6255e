"""The driver against a model too simple to be wrong: a list of processes, searched from one end."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from parity_tests.simulators.simkernel import Kind, SimEvent, SimKernel

# Few, so that they meet; with the excluded ones, and some that share a bucket of a small table.
PIDS = st.sampled_from([0, 4, *range(1000, 1048, 4), 0x10000, 0x20000, 0xFFFF_FFFC])
EVENTS = st.lists(
    st.builds(
        lambda kind, creator, pid: SimEvent(0, kind, creator, creator + 1 & 0xFFFF_FFFF, pid, pid ^ 1),
        st.sampled_from(
            [Kind.PROCESS_CREATED, Kind.PROCESS_CREATED, Kind.PROCESS_EXITED, *[Kind.THREAD_CREATED] * 3]
        ),
        PIDS,
        PIDS,
    ),
    max_size=120,
)


def by_the_book(events, bound):
    table, evictions, seen, remote = [], 0, Counter(), []
    for event in events:
        was_new = event.pid in table
        if was_new:
            table.remove(event.pid)
        if event.kind is Kind.PROCESS_CREATED:
            if len(table) == bound:
                del table[0]
                evictions += 1
            table.append(event.pid)
        elif event.kind is Kind.THREAD_CREATED:
            if event.creator_pid == event.pid:
                seen["own"] += 1
            elif {event.creator_pid, event.pid} & {0, 4}:
                seen["excluded"] += 1
            elif was_new:
                seen["first"] += 1
            else:
                remote.append((event.creator_pid, event.creator_tid, event.pid, event.tid))
    return len(table), evictions, seen, remote


@settings(max_examples=300, deadline=None)
@given(events=EVENTS, bound=st.integers(1, 12))
def test_the_driver_agrees(library, events, bound):
    size, evictions, seen, remote = by_the_book(events, bound)
    events = [event._replace(time=position) for position, event in enumerate(events)]
    with SimKernel(library, table_bound=bound) as kernel:
        assert kernel.play(events) == len(events)
        statistics = kernel.statistics()
        records = kernel.drain()
    assert [tuple(record[1:5]) for record in records] == remote
    assert [record.time for record in records] == sorted(record.time for record in records)
    assert (statistics.table_size, statistics.evictions) == (size, evictions)
    assert (statistics.own_threads, statistics.excluded_threads, statistics.first_threads) == (
        seen["own"],
        seen["excluded"],
        seen["first"],
    )
    assert statistics.threads_seen == sum(event.kind is Kind.THREAD_CREATED for event in events)
