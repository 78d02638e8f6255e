"""Chooses the processes whose events the enrichment must see; the events of all others are never decoded.

These are the processes of remote threads, their parents and the children of both, and the processes that may have
another name in another event, which the enrichment counts. Of threads that tell the start key of their creator,
those are needed whose creator is such a process and did not have that key before. What the enrichment says is the
same as if it had seen everything. Where its bounds could come into play, it does see everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from etwdetect.core.prefilter import PROCESS_START, PROCESS_STOP
from etwdetect.core.rule import EXCLUDED_PIDS
from etwdetect.enrich.process_tracker import MOST_PROCESSES, MOST_WEIGHT
from etwdetect.enrich.tracked_process import WEIGHT_OF_TEXT
from etwdetect.offline.columns import OTHER, PROCESS_CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import numpy.typing as npt

    from etwdetect.core.rule import RemoteThread
    from etwdetect.offline.runs import Rows

    Flags = npt.NDArray[np.bool_]
    Numbers = npt.NDArray[np.integer[Any]]

MOST_PARENTS: Final = 4 * MOST_PROCESSES
"""How many pairs of process and parent are known."""


class Selection:
    """Follows the rows of a recording and its remote threads, and then `selects` rows, and `shows` more.

    `everything` says that too much was found to choose.
    """

    def __init__(self) -> None:
        self.everything = False
        self._involved: set[int] = set()
        self._renamed: set[int] = set()
        self._processes: set[int] = set()
        self._creators: set[int] = set()
        """Those with start keys."""
        self._parents: set[int] = set()
        """Pairs of process and parent, as one number."""
        self._running: dict[int, int] = {}
        """The creation times of the processes that run, 0 where that is not told."""
        self._chosen: npt.NDArray[np.uint32] | None = None

    def hit(self, thread: RemoteThread) -> None:
        """Take a remote thread."""
        if len(self._involved) <= MOST_PROCESSES:
            self._involved.update((thread.creator_pid, thread.pid))
        else:
            self.everything = True

    def follow(self, rows: Rows) -> None:
        """Take the next rows, in order."""
        if self.everything:
            return
        self._creators.update(np.unique(rows["creator_pid"][rows["has_key"]]).tolist())
        self.everything = len(self._creators) > MOST_PROCESSES
        rows = rows[np.isin(rows["code"], PROCESS_CODES)]
        if not len(rows):
            return
        rows = rows[np.argsort(rows["pid"], kind="stable")]
        pid = rows["pid"]
        pairs = pid.astype(np.uint64) << np.uint64(32) | rows["creator_pid"]
        self._parents.update(np.unique(pairs).tolist())
        begins = np.flatnonzero(np.concatenate(([True], pid[1:] != pid[:-1])))
        self._processes.update(pid[begins].tolist())
        self._find_renamed(rows, begins)
        self.everything |= (
            max(len(self._processes), len(self._running)) > MOST_PROCESSES or len(self._parents) > MOST_PARENTS
        )

    def _find_renamed(self, rows: Rows, begins: Numbers) -> None:
        """Find the processes that an event names without telling by the creation time that they are the same."""
        code, pid = rows["code"], rows["pid"]
        created = np.where(rows["has_address"], rows["address"], 0)
        ends = np.concatenate((begins[1:], [len(rows)])) - 1
        running = self._running
        before = [running.get(each) for each in pid[begins].tolist()]
        was_running = np.concatenate(([False], code[:-1] != PROCESS_STOP))
        was_created = np.concatenate(([np.uint64(0)], created[:-1]))
        was_running[begins] = [each is not None for each in before]
        was_created[begins] = np.array([each or 0 for each in before], np.uint64)
        doubtful = (
            was_running & rows["has_name"] & ((code == PROCESS_START) | (created == 0) | (created != was_created))
        )
        self._renamed.update(np.unique(pid[doubtful]).tolist())
        for each, last, time in zip(
            pid[begins].tolist(), code[ends].tolist(), created[ends].tolist(), strict=True
        ):
            if last == PROCESS_STOP:
                running.pop(each, None)
            else:
                running[each] = time

    def finish(self, processes: Callable[[], Collection[int]], image_count: int, longest: int) -> bool:
        """Choose, and return whether there is anything for the enrichment to see.

        *processes* returns those with image events, of which there are *image_count*. *longest* is the most
        characters that one event tells of a process.
        """
        if not self._involved and not self._renamed and not self.everything:
            return False
        images = processes() if self._involved else ()
        weight = 2 * len(self._processes) * (2 * longest // WEIGHT_OF_TEXT)
        followed = len(self._processes | self._creators | self._involved) + len(images)
        if weight + image_count > MOST_WEIGHT or followed > MOST_PROCESSES:
            self.everything = True
        if not self.everything:
            pairs = np.fromiter(self._parents, np.uint64, len(self._parents))
            child, parent = pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)
            asked = {*self._involved, *EXCLUDED_PIDS}
            asked.update(parent[np.isin(child, _ids(asked))].tolist())
            asked |= self._renamed
            asked.update(child[np.isin(parent, _ids(asked))].tolist())
            self._chosen = _ids({*asked, *images}).astype(np.uint32)
        return True

    def processes(self, rows: Rows) -> Flags:
        """Return which of *rows* are events of processes that the enrichment must see."""
        chosen: Flags = np.isin(rows["code"], PROCESS_CODES)
        if self._chosen is not None:
            chosen &= np.isin(rows["pid"], self._chosen)
        return chosen

    def shows(self, rows: Rows) -> Flags:
        """Return which of *rows*, the next ones in order, the enrichment must see: with threads that tell keys."""
        processes, keyed = self.processes(rows), rows["has_key"]
        shown: Flags = processes | (rows["code"] == OTHER)
        if self._chosen is None:
            shown |= keyed
            return shown
        keyed = keyed & np.isin(rows["creator_pid"], self._chosen)
        shown[_tell_keys(rows, keyed, processes)] = True
        return shown


def _tell_keys(rows: Rows, keyed: Flags, processes: Flags) -> Numbers:
    """Return the numbers of the *keyed* thread starts that may tell a process tracker another key than it knows.

    It forgets a key at none but *processes*, the events of processes, and the same key again tells it nothing.
    """
    number = np.flatnonzero(keyed | processes)
    pid = np.where(keyed[number], rows["creator_pid"][number], rows["pid"][number])
    order = np.argsort(pid, kind="stable")  # the events of each process together, in order
    number, pid = number[order], pid[order]
    is_key, key = keyed[number], rows["creator_key"][number]
    again = (pid[1:] == pid[:-1]) & is_key[1:] & is_key[:-1] & (key[1:] == key[:-1])
    told: Numbers = number[is_key & ~np.concatenate(([False], again))[: len(number)]]
    return told


def _ids(pids: set[int]) -> npt.NDArray[np.uint64]:
    return np.fromiter(pids, np.uint64, len(pids))
