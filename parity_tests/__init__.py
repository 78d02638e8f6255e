"""Runs the same scenarios and recordings through the ETW detector and the KDetector driver, and compares them.

Not part of the installed package: `etwdetect parity run` and `parity scenarios` load it by path from the checkout
or from the unpacked .zip for Windows.
"""
