"""What the published KDetector reports, as far as its faults reach what is reported; for these tests alone.

Its state is a list of 32 places with the ids of new processes, 0 in an empty one, and a count of those taken. A
place is taken when a process is created, without a look at what is there already; when the count says that
there is none, the process is forgotten. A place is freed by the first thread that another process makes in that
process, unless one of them is System. Exits, and threads that a process makes in itself, change nothing.

Process 0, Idle, is found in any empty place: a thread in it passes for a first one, and the count falls below what
the list holds, in the end below zero. The built driver itself did all of this in the simulated kernel.
"""

from parity_tests.simulators.simkernel import Kind

PLACES = 32
EMPTY = 0
SYSTEM = 4


class PublishedList:
    """The driver's list of new processes, and its count of them, which need not agree."""

    def __init__(self):
        self.places = [EMPTY] * PLACES
        self.count = 0

    def add(self, pid):
        if self.count == PLACES:
            return
        if EMPTY in self.places:
            self.places[self.places.index(EMPTY)] = pid
        self.count += 1

    def remove(self, pid):
        """Free the first place of *pid*; return whether there was one."""
        if pid not in self.places:
            return False
        self.places[self.places.index(pid)] = EMPTY
        self.count -= 1
        return True


def reports(events, waiting=None):
    """Return (creator pid, creator tid, pid, tid) of each thread that the published driver reports."""
    waiting = PublishedList() if waiting is None else waiting
    reported = []
    for event in events:
        if event.kind is Kind.PROCESS_CREATED:
            waiting.add(event.pid)
        elif event.kind is Kind.THREAD_CREATED:
            if event.creator_pid == event.pid or SYSTEM in (event.creator_pid, event.pid):
                continue
            if not waiting.remove(event.pid):
                reported.append(tuple(event[2:6]))
    return reported
