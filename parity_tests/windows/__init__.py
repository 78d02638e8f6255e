"""Performs the steps of scenarios with real processes and threads, on Windows and in Wine.

`executor` turns steps into commands for the processes of a scenario. Each process runs `agent`, which carries them
out with the calls in `actions`. The vm and wine benches share all of it, with one difference: Windows notifies
both detectors of new processes and threads; Wine does not, so the process that creates them does (`notifier`).
"""
