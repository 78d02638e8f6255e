"""What was found, as records: read, filtered, written down, sent on and shown."""
