"""PDF files that a screen reader can read (PDF/UA-1), made by Typst from a folder's templates.

A template gets its data as JSON and never as markup, so that no name can be taken for a command. It
may read no other file and no package, and the same data give the same bytes. Fonts of the machine
are used only for letters that the fonts shipped with Typst lack.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typst

_MISSING_GLYPHS = re.compile(r'the text `"((?:[^"\\]|\\.)+)"` could not be displayed')
_ESCAPE = re.compile(r"\\u\{([0-9a-f]+)\}|\\(.)")
_BOX = "□"


def render_pdf(template: Path, data: Mapping[str, Any]) -> bytes:
    """The PDF that a template makes of `data`, which it reads by `json(bytes(sys.inputs.data))`.

    A letter that no font can draw becomes a box. The key `undrawn` of the data tells the template
    whether there is one; it must then say so, because a name must not lose letters silently.

    Raises:
        TypstError: the template cannot be set.
    """
    undrawn: set[str] = set()
    while True:
        inputs = _with_boxes(data, undrawn) | {"undrawn": bool(undrawn)}
        try:
            return typst.compile(
                template,
                root=template.parent,
                format="pdf",
                pdf_standards=["ua-1"],
                sys_inputs={"data": json.dumps(inputs, ensure_ascii=False)},
            )
        except typst.TypstError as error:
            missing = {_unescaped(text) for text in _MISSING_GLYPHS.findall(str(error))}
            if not missing - undrawn:
                raise
            undrawn |= missing


def _with_boxes(value: Any, undrawn: set[str]) -> Any:
    """A copy of the data with a box in place of each undrawn letter."""
    if isinstance(value, str):
        return re.sub("|".join(map(re.escape, undrawn)), _BOX, value) if undrawn else value
    if isinstance(value, Mapping):
        return {name: _with_boxes(item, undrawn) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_boxes(item, undrawn) for item in value]
    return value


def _unescaped(text: str) -> str:
    """The text that Typst quotes, without its escapes."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else match[2], text)
