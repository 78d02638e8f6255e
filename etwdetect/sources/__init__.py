"""Where events come from: recorded traces, and events as data."""
