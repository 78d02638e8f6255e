"""etwdetect for Windows machines without Python: one .zip with all that it needs.

``python -m tools.windows_zip`` makes it; docs/user/windows-install.md tells what is in it and how it is used.
"""
