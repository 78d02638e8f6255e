"""Live sinks: detections on their way to other machines and systems, beside the printed output.

None of it ever stalls the detector: each sink has a thread of its own and a queue that is bounded, and counts what
it could not deliver.
"""

from typing import Final

FORMS: Final = "syslog+udp://HOST[:PORT], syslog+tcp://..., syslog+tls://..., http://..., https://..., eventlog:"
"""What `opening.open_sink` takes."""
