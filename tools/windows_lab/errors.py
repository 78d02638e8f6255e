"""What can go wrong with the lab; each message is one line."""

from __future__ import annotations


class LabError(Exception):
    """A step of the provisioning failed, though this machine could hold a lab."""


class LabUnavailableError(LabError):
    """This machine can't hold a lab as it is; the message says what it lacks."""
