"""ZIP files of a source: unpacked into a private folder that is gone afterwards, or refused before
anything is written.

Owns what an archive may hold: plain files and folders, each below the folder it is unpacked into,
named once, in bounded number and size. What the archive says of itself decides only what is refused
at once; the limits count the bytes that really come out, so that an archive that lies about its
sizes is stopped where it lies.
"""

from __future__ import annotations

import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from records.connectors.protocol import SourceRefused

_PIECE = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_ARCHIVES = (
    ".zip",
    ".gz",
    ".tgz",
    ".tar",
    ".bz2",
    ".xz",
    ".7z",
    ".rar",
    ".zst",
    ".jar",
    ".cab",
    ".iso",
)
_ARCHIVE_BEGINNINGS = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ\0",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!",
    b"\x28\xb5\x2f\xfd",
    b"MSCF",
)
_LOCAL_HEADER = 30
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE, _END64_LOCATOR = b"PK\x05\x06", b"PK\x06\x07"
_MAC_EXTRAS = "__MACOSX"


@dataclass(frozen=True)
class UnpackLimits:
    """What an archive may unpack to.

    `ratio` is bytes out for each byte in, and counts for files above `ratio_from` bytes: a small
    file of one repeated value may well be packed tighter.
    """

    files: int = 1_000
    bytes: int = 4 << 30
    ratio: int = 200
    ratio_from: int = 10 << 20
    directory_bytes: int = 4 << 20


DEFAULT_UNPACK_LIMITS = UnpackLimits()


@contextmanager
def open_source_folder(
    path: Path, within: Path, limits: UnpackLimits = DEFAULT_UNPACK_LIMITS
) -> Iterator[Path]:
    """The folder of a source's files: `path` itself, or what a ZIP file holds, unpacked below
    `within` for the while.

    An archive of one folder gives that folder. Only this user may look into what was unpacked.

    Raises:
        SourceRefused: `path` is neither a folder nor a ZIP file, or the archive holds what it must
            not.
    """
    if path.is_dir():
        yield path
        return
    if not path.is_file() or not zipfile.is_zipfile(path):
        raise SourceRefused(f"{path} is not a folder or a ZIP file")
    private = Path(tempfile.mkdtemp(prefix=".unpacked-", dir=within))
    try:
        folder = private / path.name
        folder.mkdir()
        _unpack(path, folder, limits)
        inside = list(folder.iterdir())
        yield inside[0] if len(inside) == 1 and inside[0].is_dir() else folder
    finally:
        shutil.rmtree(private)


def _unpack(path: Path, folder: Path, limits: UnpackLimits) -> None:
    try:
        with path.open("rb") as stream:
            _check_directory(path, stream, limits)
            with zipfile.ZipFile(stream) as archive:
                members = _checked(path, archive, limits)
                _write(path, archive, members, folder, limits)
    except SourceRefused:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        UnicodeError,
        struct.error,
        ValueError,
        RuntimeError,
    ) as error:
        raise SourceRefused(f"{path.name} is damaged and cannot be unpacked: {error}") from None


def _check_directory(path: Path, stream: BinaryIO, limits: UnpackLimits) -> None:
    """Refuse an archive whose list of files alone would fill the memory, before that list is
    read.
    """
    size = path.stat().st_size
    stream.seek(max(0, size - _END.size - 0xFFFF - 20))
    tail = stream.read()
    place = tail.rfind(_END_SIGNATURE)
    if place < 0 or len(tail) - place < _END.size:
        raise SourceRefused(
            f"{path.name} is damaged and cannot be unpacked: its list of files has no end"
        )
    if place >= 20 and tail[place - 20 : place - 16] == _END64_LOCATOR:
        raise SourceRefused(
            f"{path.name} is in the ZIP64 form, for more files than a source has; pack it anew"
        )
    if len(tail) - place != _END.size + _END.unpack_from(tail, place)[7]:
        raise SourceRefused(
            f"{path.name} is damaged and cannot be unpacked: something follows its list of files"
        )
    _, _, _, _, count, length, _, _ = _END.unpack_from(tail, place)
    if count > limits.files:
        raise SourceRefused(
            f"{path.name} holds {count:,} files; at most {limits.files:,} are unpacked"
        )
    if length > limits.directory_bytes:
        raise SourceRefused(
            f"{path.name} has a list of files of {length:,} bytes, which no source needs"
        )


def _checked(path: Path, archive: zipfile.ZipFile, limits: UnpackLimits) -> list[zipfile.ZipInfo]:
    """The members to unpack, after everything that can be told without unpacking was found in
    order.
    """
    members = [
        info
        for info in archive.infolist()
        if PurePosixPath(info.filename).parts[:1] != (_MAC_EXTRAS,)
    ]
    if len(members) > limits.files:
        raise SourceRefused(
            f"{path.name} holds {len(members):,} files; at most {limits.files:,} are unpacked"
        )
    seen: set[str] = set()
    for info in members:
        where = f"{path.name}: {info.orig_filename!r}"
        _check_name(where, info)
        _check_kind(where, info)
        name = info.filename.rstrip("/").casefold()
        if name in seen:
            raise SourceRefused(f"{where} is there twice")
        seen.add(name)
        if info.file_size > max(limits.ratio_from, limits.ratio * info.compress_size):
            raise SourceRefused(
                f"{where} unpacks to more than {limits.ratio} times its size, as no source's file"
                " does"
            )
    if sum(info.file_size for info in members) > limits.bytes:
        raise SourceRefused(f"{path.name} unpacks to more than {limits.bytes:,} bytes")
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise SourceRefused(
                f"{path.name}: {info.orig_filename!r} shares its bytes with another file"
            )
        end = info.header_offset + _LOCAL_HEADER + len(info.orig_filename) + info.compress_size
    return members


def _check_name(where: str, info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    parts = name.removesuffix("/").split("/")
    if (
        name.startswith("/")
        or "\\" in name
        or ":" in name
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise SourceRefused(
            f"{where} would be written outside its folder; names must be plain, such as"
            " data/users.csv"
        )
    if not name.isprintable() or any(len(part.encode()) > 200 for part in parts):
        raise SourceRefused(f"{where} is not a name for a file")


def _check_kind(where: str, info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR) > info.is_dir():
        raise SourceRefused(f"{where} is a link or a device; only plain files are unpacked")
    if info.flag_bits & _ENCRYPTED:
        raise SourceRefused(f"{where} is locked with a password; unlock it before it is loaded")
    if info.compress_type not in _METHODS:
        raise SourceRefused(
            f"{where} is packed in a way other than Deflate; pack it anew as an ordinary ZIP file"
        )
    if info.filename.lower().endswith(_ARCHIVES):
        raise SourceRefused(f"{where} is an archive inside the archive; put its files in directly")


def _write(
    path: Path,
    archive: zipfile.ZipFile,
    members: list[zipfile.ZipInfo],
    folder: Path,
    limits: UnpackLimits,
) -> None:
    total = 0
    for info in members:
        target = folder / info.filename
        try:
            if info.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as packed, target.open("xb") as out:
                total += _write_one(
                    f"{path.name}: {info.filename!r}",
                    packed,
                    out,
                    info,
                    limits,
                    limits.bytes - total,
                )
        except (FileExistsError, NotADirectoryError):
            raise SourceRefused(
                f"{path.name}: {info.filename!r} is a file and a folder at once"
            ) from None


def _write_one(
    where: str,
    packed: IO[bytes],
    out: BinaryIO,
    info: zipfile.ZipInfo,
    limits: UnpackLimits,
    left: int,
) -> int:
    written = 0
    while piece := packed.read(_PIECE):
        if not written and piece.startswith(_ARCHIVE_BEGINNINGS):
            raise SourceRefused(
                f"{where} is an archive inside the archive; put its files in directly"
            )
        written += len(piece)
        if written > left:
            raise SourceRefused(
                f"{where} unpacks to more than is left of the limit of {limits.bytes:,} bytes"
            )
        if written > max(limits.ratio_from, limits.ratio * info.compress_size):
            raise SourceRefused(
                f"{where} unpacks to more than {limits.ratio} times its size, as no source's file"
                " does"
            )
        out.write(piece)
    if written != info.file_size:
        raise SourceRefused(
            f"{where} says that it has {info.file_size:,} bytes and has {written:,}"
        )
    return written
