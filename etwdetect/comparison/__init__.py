"""Pairs the records of two detectors and says in what they differ: `etwdetect parity compare`."""
