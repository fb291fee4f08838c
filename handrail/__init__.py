"""Handrail: the command line, settings and demo district. May import every room."""

__version__ = "0.1.0"
