"""Every Win32 call of the package, by subject; only `core` is imported.

All modules but `console` import on any system; elsewhere than on Windows, calling them raises
UnsupportedSystemError. ctypes and not pywin32: these are some fifty documented functions, against a wheel of
several megabytes for every user. psutil covers processes in part, but cannot create, start or stop services.
"""
