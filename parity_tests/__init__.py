"""Holds the detector without a driver and the driver side by side, on the same scenarios and recordings."""
