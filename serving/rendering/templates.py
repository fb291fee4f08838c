"""The templates of pages and reports."""

from __future__ import annotations

import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from serving.wording import words

_SERVING = Path(__file__).parents[1]


def template_environment() -> Environment:
    """The environment of all pages: values are escaped, and a missing one is an error."""
    environment = Environment(
        loader=FileSystemLoader(_SERVING / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["capital"] = words.capital
    environment.globals |= {
        "words": words,
        "stylesheet": f"/static/site.css?v={_static_file_digest('site.css')}",
    }
    return environment


def _static_file_digest(name: str) -> str:
    """Ten digits of the digest of a static file: a new file has a new address and is not cached."""
    return hashlib.sha256((_SERVING / "static" / name).read_bytes()).hexdigest()[:10]
