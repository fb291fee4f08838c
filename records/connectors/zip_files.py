"""ZIP files of a source: unpacked into a temporary private folder, or refused before any write.

Owns what an archive may contain: plain files and folders, each below the folder it is unpacked
into, named once, in limited number and size. What the archive claims about itself only decides what
is refused at once; the limits count the bytes that really come out, so that an archive that lies
about its sizes is stopped where it lies.
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

from records.connectors.csv_text import SAVE_AS_CSV
from records.connectors.file_names import MAC_METADATA, innermost_folder, is_clutter
from records.connectors.protocol import SourceRefused

_CHUNK_BYTES = 1 << 20
_ALLOWED_COMPRESSION = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_ARCHIVE_SUFFIXES = (
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
_ARCHIVE_SIGNATURES = (
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
_LOCAL_HEADER_BYTES = 30
_END_RECORD = struct.Struct("<4s4H2LH")
_END_RECORD_SIGNATURE, _END64_LOCATOR = b"PK\x05\x06", b"PK\x06\x07"
_WORKBOOK_PART = "[Content_Types].xml"
_OFFICE_SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".xls")


@dataclass(frozen=True)
class UnpackLimits:
    """What an archive may unpack to, in files and bytes.

    `max_ratio` is bytes out per byte in, and applies to files above `ratio_applies_from_bytes`: a
    small file of one repeated value may well be packed tighter. `max_directory_bytes` limits the
    archive's own list of files.
    """

    max_files: int = 1_000
    max_bytes: int = 4 << 30
    max_ratio: int = 200
    ratio_applies_from_bytes: int = 10 << 20
    max_directory_bytes: int = 4 << 20


DEFAULT_UNPACK_LIMITS = UnpackLimits()


@contextmanager
def open_source_folder(
    path: Path, temp_parent: Path, limits: UnpackLimits = DEFAULT_UNPACK_LIMITS
) -> Iterator[Path]:
    """The folder of a source's files: within `path` itself, or in a ZIP file's unpacked content.

    An archive is unpacked below `temp_parent` while the context lasts, readable by this user alone.
    Where all files are in one folder within, however deep, it gives that folder. A refusal raised
    while the context lasts names the ZIP file and the path within it, never where it is unpacked.

    Raises:
        SourceRefused: `path` is neither a folder nor a ZIP file, the archive contains what it must
            not, or several folders within hold files and it is not clear which is meant.
    """
    if path.is_dir():
        yield innermost_folder(path, str(path))
        return
    if path.name.casefold().endswith(_OFFICE_SUFFIXES) and path.is_file():
        raise SourceRefused(_workbook_refusal(path.name))
    if not path.is_file() or not zipfile.is_zipfile(path):
        raise SourceRefused(_not_a_source(path))
    private_folder = Path(tempfile.mkdtemp(prefix=".unpacked-", dir=temp_parent))
    try:
        folder = private_folder / path.name
        folder.mkdir()
        _unpack(path, folder, limits)
        with _without_private_path(private_folder):
            yield innermost_folder(folder, path.name)
    finally:
        shutil.rmtree(private_folder)


@contextmanager
def _without_private_path(private_folder: Path) -> Iterator[None]:
    """Takes the folder that an archive is unpacked into out of what a refusal says."""
    try:
        yield
    except SourceRefused as refusal:
        text = str(refusal).replace(f"{private_folder}/", "")
        if text == str(refusal):
            raise
        raise type(refusal)(text) from None


def _not_a_source(path: Path) -> str:
    if not path.exists():
        return f"{path} does not exist; give a folder or a ZIP file"
    advice = (
        f"give the folder that holds it, {path.parent}"
        if path.suffix.casefold() in (".csv", ".xml", ".txt")
        else "unpack it first"
        if path.name.casefold().endswith(_ARCHIVE_SUFFIXES) and path.suffix.casefold() != ".zip"
        else ""
    )
    return f"{path} is not a folder or a ZIP file{'; ' if advice else ''}{advice}"


def _workbook_refusal(name: str) -> str:
    return (
        f"{name} is an Excel workbook; for each sheet, {SAVE_AS_CSV}, and give the folder of the"
        " CSV files"
    )


def _unpack(path: Path, folder: Path, limits: UnpackLimits) -> None:
    try:
        with path.open("rb") as stream:
            _check_directory(path, stream, limits)
            with zipfile.ZipFile(stream) as archive:
                members = _validated_members(path, archive, limits)
                _extract(path, archive, members, folder, limits)
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
    """Refuse an archive whose list of files would fill the memory, before it is read."""
    size = path.stat().st_size
    stream.seek(max(0, size - _END_RECORD.size - 0xFFFF - 20))
    tail = stream.read()
    end_at = tail.rfind(_END_RECORD_SIGNATURE)
    if end_at < 0 or len(tail) - end_at < _END_RECORD.size:
        raise SourceRefused(
            f"{path.name} is damaged and cannot be unpacked: its list of files has no end"
        )
    if end_at >= 20 and tail[end_at - 20 : end_at - 16] == _END64_LOCATOR:
        raise SourceRefused(
            f"{path.name} is in the ZIP64 form, for more files than a source has; re-create it"
        )
    if len(tail) - end_at != _END_RECORD.size + _END_RECORD.unpack_from(tail, end_at)[7]:
        raise SourceRefused(
            f"{path.name} is damaged and cannot be unpacked: something follows its list of files"
        )
    _, _, _, _, count, length, _, _ = _END_RECORD.unpack_from(tail, end_at)
    if count > limits.max_files:
        raise SourceRefused(
            f"{path.name} holds {count:,} files; at most {limits.max_files:,} are unpacked"
        )
    if length > limits.max_directory_bytes:
        raise SourceRefused(
            f"{path.name} has a list of files of {length:,} bytes, which no source needs"
        )


def _validated_members(
    path: Path, archive: zipfile.ZipFile, limits: UnpackLimits
) -> list[zipfile.ZipInfo]:
    """The members to unpack, after all checks that need no unpacking."""
    if any(info.filename == _WORKBOOK_PART for info in archive.infolist()):
        raise SourceRefused(_workbook_refusal(path.name))
    members = [info for info in archive.infolist() if not _is_clutter(info)]
    if len(members) > limits.max_files:
        raise SourceRefused(
            f"{path.name} holds {len(members):,} files; at most {limits.max_files:,} are unpacked"
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
        if info.file_size > max(
            limits.ratio_applies_from_bytes, limits.max_ratio * info.compress_size
        ):
            raise SourceRefused(_too_dense(where, limits))
    if sum(info.file_size for info in members) > limits.max_bytes:
        raise SourceRefused(f"{path.name} unpacks to more than {limits.max_bytes:,} bytes")
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise SourceRefused(
                f"{path.name}: {info.orig_filename!r} shares its bytes with another file"
            )
        end = (
            info.header_offset + _LOCAL_HEADER_BYTES + len(info.orig_filename) + info.compress_size
        )
    return members


def _is_clutter(info: zipfile.ZipInfo) -> bool:
    """Whether a member is an operating system's own file, or in a folder of such."""
    parts = PurePosixPath(info.filename).parts
    in_mac_metadata = any(part.casefold() == MAC_METADATA.casefold() for part in parts)
    return in_mac_metadata or (not info.is_dir() and bool(parts) and is_clutter(parts[-1]))


def _too_dense(where: str, limits: UnpackLimits) -> str:
    return (
        f"{where} unpacks to more than {limits.max_ratio} times its size, as no source's file does"
    )


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
        raise SourceRefused(f"{where} is not a valid file name")


def _check_kind(where: str, info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR) > info.is_dir():
        raise SourceRefused(f"{where} is a link or a device; only plain files are unpacked")
    if info.flag_bits & _ENCRYPTED:
        raise SourceRefused(f"{where} is password-protected; remove the password before loading it")
    if info.compress_type not in _ALLOWED_COMPRESSION:
        raise SourceRefused(
            f"{where} is packed in a way other than Deflate; re-create it as an ordinary ZIP file"
        )
    if info.filename.casefold().endswith(_OFFICE_SUFFIXES):
        raise SourceRefused(f"{where} is an Excel workbook: {SAVE_AS_CSV}")
    if info.filename.lower().endswith(_ARCHIVE_SUFFIXES):
        raise SourceRefused(f"{where} is an archive inside the archive; put its files in directly")


def _extract(
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
            with archive.open(info) as packed, target.open("xb") as unpacked:
                total += _extract_file(
                    f"{path.name}: {info.filename!r}",
                    packed,
                    unpacked,
                    info,
                    limits,
                    limits.max_bytes - total,
                )
        except (FileExistsError, NotADirectoryError):
            raise SourceRefused(
                f"{path.name}: {info.filename!r} is a file and a folder at once"
            ) from None


def _extract_file(
    where: str,
    packed: IO[bytes],
    unpacked: BinaryIO,
    info: zipfile.ZipInfo,
    limits: UnpackLimits,
    bytes_left: int,
) -> int:
    written = 0
    while chunk := packed.read(_CHUNK_BYTES):
        if not written and chunk.startswith(_ARCHIVE_SIGNATURES):
            raise SourceRefused(
                f"{where} is an archive inside the archive; put its files in directly"
            )
        written += len(chunk)
        if written > bytes_left:
            raise SourceRefused(
                f"{where} unpacks to more than is left of the limit of {limits.max_bytes:,} bytes"
            )
        if written > max(limits.ratio_applies_from_bytes, limits.max_ratio * info.compress_size):
            raise SourceRefused(_too_dense(where, limits))
        unpacked.write(chunk)
    if written != info.file_size:
        raise SourceRefused(
            f"{where} says that it has {info.file_size:,} bytes and has {written:,}"
        )
    return written
