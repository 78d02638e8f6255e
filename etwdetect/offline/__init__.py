"""The way of a recorded trace, from its file to detections: `Scan`."""

from etwdetect.offline.scan import Scan

__all__ = ["Scan"]
