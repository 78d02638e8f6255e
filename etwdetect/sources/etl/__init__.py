"""The .etl container: its buffers, its records, and a writer of valid files."""
