"""Pairs the records of two detectors and reports the differences: `etwdetect parity compare`."""
