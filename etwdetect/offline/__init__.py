"""Recorded traces, from files to detections: `Scan`."""

from etwdetect.offline.scan import Scan

__all__ = ["Scan"]
