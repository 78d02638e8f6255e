"""Sinks: send detections to other machines and systems, beside the output.

A sink never blocks live detection: each has its own thread and a bounded queue, and counts what it could not
deliver.
"""

from typing import Final

WAIT: Final = 60.0
"""How many seconds the records of a recording wait for a receiver that takes nothing, unless told otherwise."""

FORMS: Final = (
    "syslog+udp://HOST[:PORT], syslog+tcp://..., syslog+tls://..., http://..., https://...,"
    " http+ecs://..., https+ocsf://..., eventlog:"
)
"""The URLs that `opening.open_sink` takes."""
