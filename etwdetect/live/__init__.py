"""Real-time sessions on Windows; all modules import on any system.

`monitor.Monitor` takes live events from pywintrace's callback to detections. docs/user/live.md describes it for
users.
"""
