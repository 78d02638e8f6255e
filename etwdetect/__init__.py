"""Finds threads that one Windows process creates in another, from Event Tracing for Windows."""

__version__ = "0.1.0"
