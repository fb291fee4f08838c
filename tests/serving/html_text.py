"""The HTML of a page as a test quotes it, whatever lines its template breaks it into."""

from __future__ import annotations

import re

_BLOCK = (
    r"(?:article|br|button|caption|dd|details|div|dl|dt|fieldset|form|h\d|input|label|legend|li|nav"
    r"|ol|option|p|section|select|summary|table|tbody|td|tfoot|th|thead|tr|ul)"
)
_BESIDE_BLOCK = re.compile(rf"\s*(</?{_BLOCK}\b[^>]*>)\s*")


def one_line(html: str) -> str:
    """Each run of whitespace as one space, and none beside the tag of a block or a field."""
    return _BESIDE_BLOCK.sub(r"\1", re.sub(r"\s+", " ", html))
