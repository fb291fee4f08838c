"""The words of a PDF, letter by letter through its fonts' own maps: enough for the files that this
site makes.
"""

from __future__ import annotations

import re
import zlib

_OBJECT = re.compile(rb"(\d+) 0 obj(.*?)endobj", re.DOTALL)
_CHARACTER = re.compile(rb"<([0-9A-F]{4})> <([0-9A-F]+)>")
_FONT_OR_TEXT = re.compile(
    rb"/(?:Lang|Alt)\([^)]*\)|/(\w+) [-\d.]+"
    rb" Tf|\(((?:[^\\()]|\\.|\((?:[^\\()]|\\.)*\))*)\)|(\bET\b)",
    re.DOTALL,
)
_ESCAPED = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def pdf_text(file: bytes) -> str:
    """All that the pages show, in the order in which it is drawn, without its spacing."""
    objects = {int(number): body for number, body in _OBJECT.findall(file)}
    pages = [body for body in objects.values() if b"/Type/Page/" in body]
    return "\n".join(
        _words(_stream(objects[_reference(page, b"Contents")]), _fonts(objects, page))
        for page in pages
    )


def _fonts(objects: dict[int, bytes], page: bytes) -> dict[bytes, dict[int, str]]:
    named = re.search(rb"/Font<<(.*?)>>", objects[_reference(page, b"Resources")])
    assert named is not None
    return {
        name: _map(objects[_reference(objects[int(number)], b"ToUnicode")])
        for name, number in re.findall(rb"/(\w+) (\d+) 0 R", named[1])
    }


def _words(content: bytes, fonts: dict[bytes, dict[int, str]]) -> str:
    shown, letters = "", {}
    for font, text, end in _FONT_OR_TEXT.findall(content):
        if font:
            letters = fonts[font]
        elif end:
            shown += " "
        elif text:
            codes = _ESCAPED.sub(_unescaped, text)
            shown += "".join(
                letters[int.from_bytes(codes[at : at + 2])] for at in range(0, len(codes), 2)
            )
    return re.sub(r"\s+", " ", shown)


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes([int(code, 8)]) if code.isdigit() else _LETTERS.get(code, code)


def _map(body: bytes) -> dict[int, str]:
    return {
        int(code, 16): bytes.fromhex(letters.decode()).decode("utf-16-be")
        for code, letters in _CHARACTER.findall(_stream(body))
    }


def _stream(body: bytes) -> bytes:
    return zlib.decompressobj().decompress(body.split(b"stream", 1)[1].lstrip(b"\r\n"))


def _reference(body: bytes, name: bytes) -> int:
    found = re.search(rb"/" + name + rb" (\d+) 0 R", body)
    assert found is not None, name
    return int(found[1])
