"""The simulated kernel and the stand-in for event tracing, driven from Python."""
