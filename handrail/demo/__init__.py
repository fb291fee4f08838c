"""A made-up district of 16,000 students over three school years, written as source files and read
like any other.

The same seed gives the same bytes. Everybody and every place in it is fictitious.
"""

from __future__ import annotations

from handrail.demo.district import DEMO_TODAY
from handrail.demo.source_files import DemoFiles, write_source_files

__all__ = ["DEMO_TODAY", "DemoFiles", "write_source_files"]
