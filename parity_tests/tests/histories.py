"""Random histories through both detectors: ``python -m parity_tests.tests.histories [COUNT] [SEED]``.

A history is a random sequence of creations and exits, possible or not: it has few process ids, so that they are
reused often, System and Idle among them, and small tables, so that they overflow. Its events reach the rule out of
order, and ETW does not know some creators. Both detectors must report the same; what only the driver reports must
be exactly the remote threads whose creator ETW does not know. Prints the lengths and how often each row of the
rule was hit, also after Ctrl+C; ends with status 1 at the first difference and names the history.
"""

import contextlib
import math
import random
import sys
import time
from collections import Counter
from typing import NamedTuple

from etwdetect.comparison.pairing import compare, explain
from etwdetect.comparison.result import differences
from etwdetect.core.events import UNKNOWN_ID, ProcessStart, ProcessStop, ThreadStart
from etwdetect.core.order import EventSorter
from etwdetect.core.rule import DEFAULT_BOUND, RemoteThreadRule
from parity_tests.benches.sides import driver_side, etw_side
from parity_tests.timeline import MIDNIGHT, kernel_events

LONGEST = 10_000
BOUNDS = (1, 2, 3, 5, 8, 13, DEFAULT_BOUND)
KINDS = (ProcessStart, ProcessStop, ThreadStart)


class History(NamedTuple):
    """Creations and exits in order, each at its own time, and the bound of the table for both sides."""

    events: list
    bound: int


def generate(chance):
    """Return a history by the random numbers of *chance*, its length log-uniform from 1 to LONGEST."""
    length = int(math.exp(chance.uniform(0, math.log(LONGEST + 1))))
    pids = [0, 4, *chance.sample(range(1000, 1400, 4), chance.randint(2, 40))]
    weights = chance.choice([(3, 2, 5), (5, 1, 4), (1, 1, 8), (4, 4, 2)])
    kinds = chance.choices(KINDS, weights, k=length)
    creators = chance.choices(pids, k=length)
    targets = chance.choices(pids, k=length)
    tids = chance.choices(range(2001, 2033), k=length)
    events = []
    now = MIDNIGHT
    for kind, creator, target, tid in zip(kinds, creators, targets, tids, strict=True):
        now += tid - 2000
        if kind is ThreadStart:
            events.append(ThreadStart(now, creator, creator + 1, target, tid))
        elif kind is ProcessStart:
            events.append(ProcessStart(now, creator, creator + 1, target))
        else:
            events.append(ProcessStop(now, target))
    return History(events, chance.choice(BOUNDS))


def difference(history, chance, rows):
    """Return what differs, or an empty list; count in *rows* which rows of the rule were hit."""
    driver = driver_side(kernel_events(history.events), history.bound)
    hidden = _hidden(history, driver, chance)
    events = [
        event._replace(creator_pid=UNKNOWN_ID, creator_tid=UNKNOWN_ID) if event.time in hidden else event
        for event in history.events
    ]
    rule = RemoteThreadRule(history.bound)
    sorter = EventSorter()
    for event in (*events[1::2], *events[::2]):  # two CPUs, one buffer after the other
        sorter.add(event)
    records = _observe(rule, sorter, rows)
    etw = etw_side(rule, records)
    comparison = explain(
        compare(records, driver.records), lambda record, side: side == "driver" and record.time in hidden
    )
    found = differences(comparison, etw, driver)
    unseen = {record.time for record in driver.records} & hidden
    if {record.time for record in comparison.explained} != unseen:
        found.append(f"only the driver has {len(comparison.explained)}, not {len(unseen)}")
    if etw.statistics["unknown"] != len(hidden):
        found.append(f"{etw.statistics['unknown']} creators are unknown, not {len(hidden)}")
    rows.update({name: count for name, count in etw.statistics.items() if name in ROWS})
    rows["only the driver"] += len(comparison.explained)
    return found


ROWS = ("own", "excluded", "first", "remote", "unknown", "evicted")


def _hidden(history, driver, chance):
    """Return the times of thread starts whose creator ETW does not know: none, of remote ones, or of any."""
    which = chance.choice(("none", "remote", "any"))
    if which == "none":
        return set()
    times = (
        [record.time for record in driver.records]
        if which == "remote"
        else [event.time for event in history.events if type(event) is ThreadStart]
    )
    return set(chance.sample(times, len(times) // chance.randint(1, 50)))


def _observe(rule, events, rows):
    """Return the records, and count what the rule itself does not count."""
    records = []
    table = rule.table
    for event in events:
        size, evictions = len(table), table.evictions
        hit = rule.observe(event)
        if hit is not None:
            records.append(hit)
        change = len(table) - size
        kind = type(event)
        if kind is ThreadStart:
            rows["a thread ends the waiting"] -= change
        elif kind is ProcessStop:
            rows["an exit ends the waiting"] -= change
        elif change == 0 and table.evictions == evictions:
            rows["created again while it waits"] += 1
    return records


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    rows, lengths, began = Counter(), Counter(), time.perf_counter()
    with contextlib.suppress(KeyboardInterrupt):
        for number in range(count):
            chance = random.Random(f"{seed}/{number}")
            history = generate(chance)
            found = difference(history, chance, rows)
            lengths[len(history.events)] += 1
            if found:
                sys.exit(
                    f"history {number} of seed {seed}, {len(history.events)} events:\n" + "\n".join(found[:20])
                )
            if number % 1000 == 999:
                sys.stderr.write(f"\r{number + 1:,} of {count:,}")
    sys.stderr.write("\n")
    events = sum(rows[name] for name in ("own", "excluded", "first", "remote", "unknown"))
    lines = [f"{lengths.total():,} histories of seed {seed} in {time.perf_counter() - began:.0f} s: no difference"]
    powers = Counter()
    for length, times in lengths.items():
        powers[len(str(length))] += times
    lines += [f"  lengths of {digits} digits: {times:,} histories" for digits, times in sorted(powers.items())]
    lines.append(f"  the longest: {max(lengths):,} events; {events:,} thread starts in all")
    lines += [f"  {name}: {times:,}" for name, times in rows.most_common()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
