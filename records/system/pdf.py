"""PDF files that a screen reader can read (PDF/UA-1), set by Typst from a room's templates.

A template gets its data as JSON and never as text of its own, so that no name can be taken for a
command. It may read no other file and no package, and the same data give the same bytes. Fonts of
the machine serve only where those that come with Typst lack a letter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typst

_UNDRAWN = re.compile(r'the text `"((?:[^"\\]|\\.)+)"` could not be displayed')
_ESCAPE = re.compile(r"\\u\{([0-9a-f]+)\}|\\(.)")
_BOX = "□"


def render_pdf(template: Path, data: Mapping[str, Any]) -> bytes:
    """The PDF that a template makes of `data`, which it reads by `json(bytes(sys.inputs.data))`.

    A letter that no font can draw becomes a box. The template finds in `undrawn` whether there is
    one, and has to say so, for a name must not lose its letters silently.

    Raises:
        TypstError: the template cannot be set.
    """
    undrawn: set[str] = set()
    while True:
        told = json.dumps(_boxed(data, undrawn) | {"undrawn": bool(undrawn)}, ensure_ascii=False)
        try:
            return typst.compile(
                template,
                root=template.parent,
                format="pdf",
                pdf_standards=["ua-1"],
                sys_inputs={"data": told},
            )
        except typst.TypstError as error:
            found = {_plain(text) for text in _UNDRAWN.findall(str(error))}
            if not found - undrawn:
                raise
            undrawn |= found


def _boxed(value: Any, undrawn: set[str]) -> Any:
    """The same data, with a box for each of these letters."""
    if isinstance(value, str):
        return re.sub("|".join(map(re.escape, undrawn)), _BOX, value) if undrawn else value
    if isinstance(value, Mapping):
        return {name: _boxed(one, undrawn) for name, one in value.items()}
    return [_boxed(one, undrawn) for one in value] if isinstance(value, (list, tuple)) else value


def _plain(text: str) -> str:
    """The text that Typst quotes, without its escapes."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else match[2], text)
