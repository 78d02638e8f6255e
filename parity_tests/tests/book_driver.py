"""What the published KDetector reports, as far as its faults reach what is reported; for these tests alone.

Its state is a list of 32 places with the ids of new processes. A place is taken when a process is created, without
a look at what is there already; when there is none, the process is forgotten. A place is freed by the first thread
that another process makes in that process, unless one of them is System. Exits, and threads that a process makes
in itself, change nothing.
"""

from parity_tests.simulators.simkernel import Kind

PLACES = 32
SYSTEM = 4


def reports(events):
    """Return (creator pid, creator tid, pid, tid) of each thread that the published driver reports."""
    waiting, reported = [], []
    for event in events:
        if event.kind is Kind.PROCESS_CREATED and len(waiting) < PLACES:
            waiting.append(event.pid)
        elif event.kind is Kind.THREAD_CREATED:
            if event.creator_pid == event.pid or SYSTEM in (event.creator_pid, event.pid):
                continue
            if event.pid in waiting:
                waiting.remove(event.pid)
            else:
                reported.append(tuple(event[2:6]))
    return reported
