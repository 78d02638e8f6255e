"""Every Win32 call of the package."""
