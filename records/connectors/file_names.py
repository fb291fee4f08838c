"""The files of a source by name, as people and systems write names.

Owns what counts as the same name (any case; `line_items.csv` is `lineItems.csv`), what an operating
system leaves in a folder and no source means, and which folder of an export holds its files. Two
files of one name are refused, and so is a workbook in the place of a CSV file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from records.connectors.csv_text import SAVE_AS_CSV
from records.connectors.protocol import SourceRefused

MAC_METADATA = "__MACOSX"
_CLUTTER = ("thumbs.db", "desktop.ini", "ehthumbs.db", MAC_METADATA.casefold())
_DOCUMENT_SUFFIXES = (".pdf", ".doc", ".docx", ".md", ".rtf", ".htm", ".html", ".log")
_WORKBOOK_SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".xls")
_EXPORT_SUFFIXES = (".csv", ".xml", ".txt", ".tsv", *_WORKBOOK_SUFFIXES)
_MARKS = re.compile(r"[\s_\-\u200b\ufeff]+")
_MAX_DEPTH = 4
_MAX_NAMED = 5


def plain_name(name: str) -> str:
    """The form in which names of files and columns are compared: no case, spaces, _ or -."""
    return _MARKS.sub("", name).casefold()


def is_clutter(name: str) -> bool:
    """Whether a file or folder is an operating system's own: .DS_Store, ._users.csv, Thumbs.db.

    So are the locks of open documents: ~$users.xlsx.
    """
    return name.startswith((".", "~$")) or name.casefold() in _CLUTTER


def files_by_name(folder: Path, expected: Iterable[str] = ()) -> dict[str, Path]:
    """The files of a folder by their names, or by the expected name that they mean; no clutter.

    Raises:
        SourceRefused: two files mean the same expected name, or a workbook stands in its place.
    """
    meant = {plain_name(name): name for name in expected}
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if is_clutter(path.name) or not path.is_file():
            continue
        name = meant.get(plain_name(path.name), path.name)
        other = files.setdefault(name, path)
        if other is not path:
            raise SourceRefused(
                f"{other.name} and {path.name} are both in {folder.name}: it cannot be told which"
                " to read; remove one"
            )
    _refuse_workbooks(files, meant)
    return files


def find_file(folder: Path, name: str) -> Path:
    """The file in a folder that means this name, or where it would be."""
    exact = folder / name
    if exact.is_file() or not folder.is_dir():
        return exact
    return files_by_name(folder, (name,)).get(name, exact)


def _refuse_workbooks(files: Mapping[str, Path], meant: Mapping[str, str]) -> None:
    for path in files.values():
        stem = plain_name(path.stem)
        name = meant.get(f"{stem}.csv")
        is_workbook = path.suffix.casefold() in _WORKBOOK_SUFFIXES
        if is_workbook and name is not None and name not in files:
            raise SourceRefused(
                f"{path.name} is an Excel workbook, and {name} is expected: {SAVE_AS_CSV}"
            )


def innermost_folder(folder: Path, shown_as: str) -> Path:
    """The folder that holds an export's files: the given one, or the only one within it that does.

    Args:
        shown_as: what messages call the given folder.

    Raises:
        SourceRefused: several folders hold files, and the given one holds none itself.
    """
    for _ in range(_MAX_DEPTH):
        if any(_is_data(path) for path in folder.iterdir()):
            return folder
        inner = [path for path in _subfolders(folder) if _holds_export(path, _MAX_DEPTH)]
        if len(inner) > 1:
            names = ", ".join(repr(path.name) for path in inner[:_MAX_NAMED])
            more = " and others" if len(inner) > _MAX_NAMED else ""
            raise SourceRefused(
                f"{shown_as} holds several folders with files ({names}{more}) and no file beside"
                " them: give the one folder that is the export"
            )
        if not inner:
            return folder
        folder = inner[0]
        shown_as = f"{shown_as}/{folder.name}"
    return folder


def _subfolders(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.is_symlink() and not is_clutter(path.name)
    )


def _is_data(path: Path) -> bool:
    """Whether it is a file, and neither clutter nor a document that explains the others."""
    name = path.name.casefold()
    return (
        path.is_file()
        and not is_clutter(name)
        and not name.endswith(_DOCUMENT_SUFFIXES)
        and not name.startswith("readme")
    )


def _holds_export(folder: Path, depth: int) -> bool:
    """Whether the folder, or one within it, holds a file such as a source exports."""
    if not os.access(folder, os.R_OK | os.X_OK):
        return False
    if any(
        _is_data(path) and path.name.casefold().endswith(_EXPORT_SUFFIXES)
        for path in folder.iterdir()
    ):
        return True
    return depth > 1 and any(_holds_export(inner, depth - 1) for inner in _subfolders(folder))
