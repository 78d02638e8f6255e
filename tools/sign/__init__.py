"""Signs KDetector.sys for test machines, on Linux: ``python -m tools.sign``."""
