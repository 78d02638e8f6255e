"""The .etl container: what a trace file is made of, and how its records are found."""
