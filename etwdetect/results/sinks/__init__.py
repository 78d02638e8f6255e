"""Sinks: send detections to other machines and systems, beside the output.

A sink never blocks live detection: each has its own thread and a bounded queue, and counts what it could not
deliver.
"""

from typing import Final

FORMS: Final = "syslog+udp://HOST[:PORT], syslog+tcp://..., syslog+tls://..., http://..., https://..., eventlog:"
"""The URLs that `opening.open_sink` takes."""
