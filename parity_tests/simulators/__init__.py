"""The simulated kernel and the stand-in for event tracing, controlled from Python."""
