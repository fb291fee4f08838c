"""The templates of pages and reports."""

from __future__ import annotations

import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from serving.wording import words

_SERVING = Path(__file__).parents[1]


def template_environment() -> Environment:
    """The templates of pages: what they are given is escaped, and what is missing is an error."""
    found = Environment(
        loader=FileSystemLoader(_SERVING / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["capital"] = words.capital
    found.globals |= {
        "words": words,
        "stylesheet": f"/static/site.css?v={_digest_of_file('site.css')}",
    }
    return found


def _digest_of_file(file: str) -> str:
    return hashlib.sha256((_SERVING / "static" / file).read_bytes()).hexdigest()[:10]
