"""The client of the KDetector driver: its records, its statistics and its Windows service.

The driver applies the same rule as etwdetect.core.rule and yields the same record, RemoteThread.
"""

from etwdetect.kdetector.device import Device
from etwdetect.kdetector.errors import KDetectorError
from etwdetect.kdetector.interface import Statistics
from etwdetect.kdetector.watch import Watcher

__all__ = ["Device", "KDetectorError", "Statistics", "Watcher"]
