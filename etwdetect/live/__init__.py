"""Live sessions: events as Windows makes them, on Windows alone; everything here imports anywhere.

`monitor.Monitor` is the way of a live event, from pywintrace's callback to detections. docs/monitor.md tells
users what it promises.
"""
