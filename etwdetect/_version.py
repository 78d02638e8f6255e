"""The version, in a module of its own: what writes it down needs nothing else of the package's face."""

__version__ = "0.1.0"
