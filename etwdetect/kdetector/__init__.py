"""The KDetector driver's client: its records, its statistics, and the service that it is to Windows.

The driver applies the same rule as etwdetect.core.rule and gives the same record, RemoteThread.
"""

from etwdetect.kdetector.device import Device
from etwdetect.kdetector.errors import KDetectorError
from etwdetect.kdetector.interface import Statistics
from etwdetect.kdetector.watch import Watcher

__all__ = ["Device", "KDetectorError", "Statistics", "Watcher"]
