"""The text of a CSV file, whatever program saved it: read as UTF-8 with line feeds.

Owns what a file as a whole shows about itself: its encoding and its line ends. Both are chosen once
for the whole file and never line by line, so that a damaged byte in a file of UTF-8 stays a damaged
byte. A workbook of Excel under the name of a CSV file is refused, with what to do.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from records.connectors.protocol import SourceRefused

UTF_8, WINDOWS_1252, MAC_ROMAN = "UTF-8", "Windows-1252", "Mac Roman"
_CODECS = {
    UTF_8: "utf-8",
    "UTF-16": "utf-16-le",
    "UTF-16 (big-endian)": "utf-16-be",
    WINDOWS_1252: "cp1252",
    MAC_ROMAN: "mac-roman",
}
"""Name in messages -> Python's codec."""

SAVE_AS_CSV = "save it in Excel as 'CSV UTF-8 (Comma delimited)'"
_WORKBOOK_SIGNATURES = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
"""Of .xlsx (a ZIP archive) and of the older .xls."""
_OTHER_FORMS = {
    b"\x1f\x8b": ("is packed (gzip)", "unpack it first"),
    b"%PDF": ("is a PDF document", "export it as CSV"),
    b"7z\xbc\xaf": ("is packed (7-Zip)", "unpack it first"),
    b"Rar!": ("is packed (RAR)", "unpack it first"),
    codecs.BOM_UTF32_LE: ("is UTF-32", "save it as CSV in UTF-8"),
    codecs.BOM_UTF32_BE: ("is UTF-32", "save it as CSV in UTF-8"),
    b"<": ("is HTML or XML", "export it as CSV; a page that asks to sign in looks like this too"),
    b"{": ("is JSON", "export it as CSV"),
    b"[{": ("is JSON", "export it as CSV"),
}
"""Beginning of a file that is no CSV -> what it is, and what would be right."""
_START_BYTES = 512
_CHUNK_BYTES = 1 << 20
_OVERLAP_BYTES = 16
_SLASHED_DATE = re.compile(rb"/[0-9]{1,2}/[0-9]{4}")
_DASHED_DATE = re.compile(rb"-[0-9]{1,2}-[0-9]{4}")
_UTF_8_CHARACTER = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_HIGH_BYTE = re.compile(rb"[\x80-\xff]")
_STRAY_PER_UTF_8_CHARACTER = 50
"""A file with a UTF-8 character in fifty stray bytes is UTF-8 and damaged. With fewer, the
character is chance: in Windows-1252 a capital letter with an accent before a quotation mark."""
_LIKELY_SHARE = 0.9
"""Of the bytes beyond ASCII, the share that must make sense as letters for an encoding to be
believed; the rest are damaged bytes, and their lines are quarantined."""
_LIKELY_MARKS = frozenset("\u2018\u2019\u201c\u201d\u2022\u2026\u00d7\u00a0®©™ªº°·§±«»¿¡½¼¾")
"""Typographic quotation marks, dots, the no-break space, and signs of everyday text."""
_DASHES = "\u2013\u2014"
_UNLIKELY_LETTERS = frozenset("µþÿÐðÞı")
_LAST_LATIN_LETTER = "\u017f"
_LINE_LIMIT = 1 << 20


@dataclass(frozen=True)
class TextForm:
    """How a file is written, by the evidence of all of it.

    `holds_numeric_dates` says whether something like 2/14/2026 stands anywhere in it.
    """

    encoding: str = UTF_8
    has_cr_line_ends: bool = False
    holds_numeric_dates: bool = False


@contextmanager
def open_as_utf8(path: Path) -> Iterator[tuple[BinaryIO, TextForm]]:
    """The bytes of a file as UTF-8 with line feeds, and how the file itself is written.

    A byte that its encoding does not have stays a byte that is not UTF-8. The whole file is read
    once before.

    Raises:
        SourceRefused: it is a workbook of Excel.
    """
    form = text_form(path)
    with _opened(path, form.encoding, has_cr_line_ends=form.has_cr_line_ends) as stream:
        yield stream, form


def text_form(path: Path) -> TextForm:
    """How a file is written.

    UTF-16 is recognized by its byte order mark or by the zero bytes of its first line. What is not
    UTF-8 is Windows-1252 or Mac Roman, whichever makes letters of its bytes; where neither does,
    the file is UTF-8 and damaged. Line ends are a bare CR only where the file has no other.

    Raises:
        SourceRefused: it is a workbook of Excel.
    """
    with path.open("rb") as stream:
        start = stream.read(_START_BYTES)
    if start.startswith(_WORKBOOK_SIGNATURES):
        raise SourceRefused(f"{path.name} is an Excel workbook and not CSV: {SAVE_AS_CSV}")
    for beginning, (what, advice) in _OTHER_FORMS.items():
        if start.removeprefix(codecs.BOM_UTF8).lstrip(b" \t\r\n").startswith(beginning):
            raise SourceRefused(f"{path.name} {what} and not CSV: {advice}")
    encoding = _utf_16(start) or UTF_8
    evidence = _Evidence()
    with _opened(path, encoding) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            evidence.add(chunk)
    if encoding == UTF_8 and not evidence.is_utf_8:
        encoding = _one_byte_encoding(path, prefers_mac=evidence.has_cr_line_ends)
    return TextForm(encoding, evidence.has_cr_line_ends, evidence.holds_numeric_dates)


@contextmanager
def _opened(path: Path, encoding: str, *, has_cr_line_ends: bool = False) -> Iterator[BinaryIO]:
    with path.open("rb") as stream:
        if encoding == UTF_8 and not has_cr_line_ends:
            yield stream
        else:
            yield io.BufferedReader(_AsUtf8(stream, _CODECS[encoding], has_cr_line_ends))


def _utf_16(start: bytes) -> str | None:
    """Which UTF-16 a file is that begins so, None if it is not.

    Without a byte order mark it is seen by the zero bytes of ASCII, every second one.
    """
    if start.startswith(codecs.BOM_UTF16_LE):
        return "UTF-16"
    if start.startswith(codecs.BOM_UTF16_BE):
        return "UTF-16 (big-endian)"
    zeros_first, zeros_second = start[::2].count(0), start[1::2].count(0)
    pairs = len(start) // 2
    if pairs >= 4 and zeros_second > 0.8 * pairs and zeros_first < 0.1 * pairs:
        return "UTF-16"
    if pairs >= 4 and zeros_first > 0.8 * pairs and zeros_second < 0.1 * pairs:
        return "UTF-16 (big-endian)"
    return None


class _Evidence:
    """What one pass over all bytes of a file shows."""

    def __init__(self) -> None:
        self.is_utf_8, self.holds_numeric_dates = True, False
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._overlap = b""
        self._has_cr = self._has_lf = self._ends_in_lf = False

    @property
    def has_cr_line_ends(self) -> bool:
        return self._has_cr and not self._has_lf

    def add(self, chunk: bytes) -> None:
        if self.is_utf_8 and not (chunk.isascii() and not self._decoder.getstate()[0]):
            try:
                self._decoder.decode(chunk)
            except UnicodeDecodeError:
                self.is_utf_8 = False
        self._has_cr = self._has_cr or b"\r" in chunk
        # A line feed as the very last byte of the file is no evidence.
        self._has_lf = self._has_lf or self._ends_in_lf or chunk.find(b"\n", 0, -1) >= 0
        self._ends_in_lf = chunk.endswith(b"\n")
        if not self.holds_numeric_dates:
            seen = self._overlap + chunk
            self.holds_numeric_dates = bool(_SLASHED_DATE.search(seen) or _DASHED_DATE.search(seen))
            self._overlap = chunk[-_OVERLAP_BYTES:]


def _one_byte_encoding(path: Path, *, prefers_mac: bool) -> str:
    """The encoding of a file that is not UTF-8 as a whole."""
    candidates = (MAC_ROMAN, WINDOWS_1252) if prefers_mac else (WINDOWS_1252, MAC_ROMAN)
    letters, marks = dict.fromkeys(candidates, 0), dict.fromkeys(candidates, 0)
    utf_8_characters = stray = 0
    with path.open("rb") as stream:
        while line := stream.readline(_LINE_LIMIT):
            if line.isascii():
                continue
            utf_8_characters += len(_UTF_8_CHARACTER.findall(line))
            stray += len(_HIGH_BYTE.findall(_UTF_8_CHARACTER.sub(b"", line)))
            for candidate in candidates:
                found = _likely_characters(line, _CODECS[candidate])
                letters[candidate] += found[0]
                marks[candidate] += found[1]
    best = max(candidates, key=lambda candidate: letters[candidate] + marks[candidate])
    is_damaged_utf_8 = utf_8_characters * _STRAY_PER_UTF_8_CHARACTER >= max(stray, 1)
    makes_sense = letters[best] + marks[best] >= _LIKELY_SHARE * stray
    # Marks alone are no evidence of an encoding that is seldom met.
    is_certain = makes_sense and (best == WINDOWS_1252 or letters[best] > 0)
    return best if is_certain and not is_damaged_utf_8 else UTF_8


def _likely_characters(line: bytes, codec: str) -> tuple[int, int]:
    """How many bytes beyond ASCII make sense in a line that is read by this codec: letters, marks.

    A letter must touch a letter or stand alone, and capitals must not stand within a word in lower
    case, nor the other way round. Typographic marks make sense anywhere, dashes not within a word.
    """
    text = line.decode(codec, "replace")
    letters = marks = 0
    for position, character in enumerate(text):
        if character.isascii():
            continue
        before, after = text[position - 1 : position], text[position + 1 : position + 2]
        if character in _LIKELY_MARKS:
            marks += 1
        elif character in _DASHES:
            # The same bytes are letters of Mac Roman, within a word in lower case.
            marks += not (before.isalpha() and after.islower())
        elif _is_likely_letter(character):
            touches = before.isalpha() or after.isalpha()
            stands_alone = not (before.isalnum() or after.isalnum())
            is_odd = before.islower() if character.isupper() else after.isupper()
            letters += (touches or stands_alone) and not is_odd
    return letters, marks


def _is_likely_letter(character: str) -> bool:
    """Whether it is a letter of a European name: neither Greek, nor a mark, nor Icelandic."""
    return (
        character.isalpha()
        and character <= _LAST_LATIN_LETTER
        and character not in _UNLIKELY_LETTERS
    )


class _AsUtf8(io.RawIOBase):
    """A file of another encoding or with other line ends, read as UTF-8 with line feeds."""

    def __init__(self, source: BinaryIO, codec: str, has_cr_line_ends: bool) -> None:
        self._source, self._has_cr_line_ends = source, has_cr_line_ends
        self._errors = "surrogatepass" if codec.startswith("utf-16") else "surrogateescape"
        self._decoder = codecs.getincrementaldecoder(codec)(self._errors)
        self._pending, self._is_done = b"", False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._pending and not self._is_done:
            self._pending = self._next()
        part = self._pending[: len(buffer)]
        self._pending = self._pending[len(part) :]
        buffer[: len(part)] = part
        return len(part)

    def _next(self) -> bytes:
        chunk = self._source.read(_CHUNK_BYTES)
        self._is_done = not chunk
        try:
            text = self._decoder.decode(chunk, final=self._is_done)
        except UnicodeDecodeError:
            # The last character is cut off.
            return b"\xff"
        if self._has_cr_line_ends:
            text = text.replace("\n", "").replace("\r", "\n")
        return text.encode("utf-8", self._errors)
