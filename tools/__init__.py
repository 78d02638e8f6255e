"""Programs for those who work on etwdetect; no part of the package."""
