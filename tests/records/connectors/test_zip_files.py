"""ZIP files: what a source packs is read like its folder, and what an attacker packs is refused
with nothing left.
"""

from __future__ import annotations

import random
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from records.connectors.edfi.files import EdFiFiles
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.protocol import SourceRefused
from records.connectors.zip_files import UnpackLimits, open_source_folder
from records.loading.load import load

SMALL = UnpackLimits(max_files=5, max_bytes=300_000, max_ratio=50, ratio_applies_from_bytes=1_000)
USERS = "sourcedId,role,givenName,familyName,grades,orgSourcedIds\nu1,student,Ada,Green,05,k1\n"


def zipped(
    path: Path,
    *members: tuple[str | zipfile.ZipInfo, bytes | str],
    method: int = zipfile.ZIP_DEFLATED,
) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def unpacked(path: Path, within: Path, limits: UnpackLimits = SMALL) -> dict[str, bytes]:
    """What an archive unpacks to, by name."""
    within.mkdir(exist_ok=True)
    with open_source_folder(path, within, limits) as folder:
        return {
            str(file.relative_to(folder)): file.read_bytes()
            for file in folder.rglob("*")
            if file.is_file()
        }


def is_refused(path: Path, within: Path, part: str, limits: UnpackLimits = SMALL) -> None:
    with pytest.raises(SourceRefused, match=part) as error:
        unpacked(path, within, limits)
    assert path.name in str(error.value)
    assert list(within.iterdir()) == [], "nothing is left"
    assert not [file for file in within.parent.iterdir() if file not in (path, within)], (
        "nothing was written beside it"
    )


def test_what_is_unpacked_is_private_and_gone_afterwards_even_after_an_error(tmp_path: Path):  # R39
    path = zipped(tmp_path / "x.zip", ("users.csv", "a\n"), ("more/b.csv", "b\n"))
    with open_source_folder(path, tmp_path) as folder:
        assert {file.name for file in folder.rglob("*.csv")} == {"users.csv", "b.csv"}
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    with pytest.raises(ZeroDivisionError), open_source_folder(path, tmp_path):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == [path]


def test_an_archive_of_one_folder_is_that_folder_and_a_macs_own_files_are_left_out(tmp_path: Path):
    path = zipped(
        tmp_path / "x.zip",
        ("export/", ""),
        ("export/users.csv", "a\n"),
        ("__MACOSX/._users.csv", "z"),
    )
    assert unpacked(path, tmp_path / "in") == {"users.csv": b"a\n"}
    (tmp_path / "folder").mkdir()
    with open_source_folder(tmp_path / "folder", tmp_path) as folder:
        assert folder == tmp_path / "folder"
    (tmp_path / "text").write_text("no archive")
    for path, why in (
        (tmp_path / "text", "is not a folder or a ZIP file"),
        (tmp_path / "nowhere", "does not exist; give a folder or a ZIP file"),
    ):
        with (
            pytest.raises(SourceRefused, match=why),
            open_source_folder(path, tmp_path),
        ):
            pass


def test_the_one_folder_with_files_is_found_however_deep_it_is(tmp_path: Path):
    path = zipped(
        tmp_path / "x.zip",
        ("Thumbs.db", "z"),
        (".DS_Store", "z"),
        ("About this export.pdf", "z"),
        ("Export/", ""),
        ("Export/.DS_Store", "z"),
        ("Export/2025/USERS.CSV", "a\n"),
        ("Export/2025/._USERS.CSV", "z"),
        ("Export/2025/desktop.ini", "z"),
        ("Export/__MACOSX/2025/._USERS.CSV", "z"),
    )
    limits = UnpackLimits()
    assert unpacked(path, tmp_path / "in", limits) == {"USERS.CSV": b"a\n"}
    beside = zipped(tmp_path / "x.zip", ("users.csv", "a\n"), ("old/users.csv", "b\n"))
    assert unpacked(beside, tmp_path / "in") == {"users.csv": b"a\n", "old/users.csv": b"b\n"}


def test_several_folders_with_files_are_refused_by_name(tmp_path: Path):
    members = [(f"Export/{year}/users.csv", "a\n") for year in ("2024", "2025")]
    is_refused(
        zipped(tmp_path / "x.zip", *members, ("Export/empty/", "")),
        tmp_path / "in",
        r"x\.zip/Export holds several folders with files \('2024', '2025'\) and no file beside"
        " them: give the one folder that is the export",
    )


def test_no_message_names_the_folder_that_a_zip_file_is_unpacked_into(tmp_path: Path):
    path = zipped(tmp_path / "x.zip", ("Export 2025/orgs.csv", "sourcedId,type\n"))
    (tmp_path / "home").mkdir()
    with pytest.raises(SourceRefused) as refusal:
        load(OneRosterFiles(), path, tmp_path / "home")
    assert str(refusal.value) == (
        "x.zip/Export 2025 has no users.csv: it is not a OneRoster CSV folder"
    )
    with pytest.raises(SourceRefused) as refusal:
        load(EdFiFiles(), path, tmp_path / "home")
    assert str(refusal.value).startswith("x.zip/Export 2025 holds no .xml file")


def test_a_workbook_in_an_archive_is_refused_with_advice(tmp_path: Path):
    is_refused(
        zipped(tmp_path / "x.zip", ("in/users.xlsx", b"PK\x03\x04")),
        tmp_path / "in",
        r"'in/users\.xlsx' is an Excel workbook: save it in Excel as 'CSV UTF-8",
    )


@pytest.mark.parametrize(
    "name", ["/etc/x", "../x", "a/../../x", "a\\..\\x", "C:x", "a//b", "./x", "a/./b", "x\ny.csv"]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str, tmp_path: Path):  # R39
    is_refused(
        zipped(tmp_path / "x.zip", ("good.csv", "1"), (name, "x")),
        tmp_path / "in",
        "outside|not a valid file name",
    )


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_a_link_or_a_device_is_refused(kind: int, tmp_path: Path):  # R39
    info = zipfile.ZipInfo("users.csv")
    info.external_attr = (kind | 0o777) << 16
    is_refused(
        zipped(tmp_path / "x.zip", (info, "/etc/passwd")), tmp_path / "in", "a link or a device"
    )


def test_names_that_are_there_twice_or_are_file_and_folder_are_refused(tmp_path: Path):  # R39
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zipped(tmp_path / "x.zip", ("users.csv", "1"), ("users.csv", "2"))
    is_refused(twice, tmp_path / "in", "there twice")
    is_refused(
        zipped(twice, ("users.csv", "1"), ("Users.CSV", "2")), tmp_path / "in", "there twice"
    )
    is_refused(
        zipped(twice, ("a", "1"), ("a/b", "2")), tmp_path / "in", "a file and a folder at once"
    )


def test_an_archive_in_the_archive_is_refused_whatever_it_is_called(tmp_path: Path):  # R39
    inner = zipped(tmp_path / "inner", ("users.csv", "1")).read_bytes()
    (tmp_path / "inner").unlink()
    is_refused(
        zipped(tmp_path / "x.zip", ("more.ZIP", "1")),
        tmp_path / "in",
        "an archive inside the archive",
    )
    for content in (inner, b"\x1f\x8b\x08rest", b"7z\xbc\xaf\x27\x1crest"):
        is_refused(
            zipped(tmp_path / "x.zip", ("users.csv", content)),
            tmp_path / "in",
            "an archive inside the archive",
        )


def test_too_many_files_too_many_bytes_or_too_tight_packing_is_refused(tmp_path: Path):  # R39
    path = tmp_path / "x.zip"
    is_refused(
        zipped(path, *((f"{n}.csv", "1") for n in range(6))),
        tmp_path / "in",
        "holds 6 files; at most 5",
    )
    noise = random.Random(1).randbytes(200_000)
    is_refused(zipped(path, ("a", noise), ("b", noise)), tmp_path / "in", "more than 300,000 bytes")
    is_refused(zipped(path, ("a", bytes(200_000))), tmp_path / "in", "more than 50 times its size")
    assert unpacked(zipped(path, ("a", bytes(900))), tmp_path / "in") == {"a": bytes(900)}


def test_a_locked_or_oddly_packed_file_is_refused(tmp_path: Path):  # R39
    path = zipped(tmp_path / "x.zip", ("users.csv", "1"))
    is_refused(
        edited(path, central=lambda header: set_field(header, 8, "<H", 1)),
        tmp_path / "in",
        "password-protected",
    )
    is_refused(
        zipped(path, ("users.csv", "1"), method=zipfile.ZIP_LZMA),
        tmp_path / "in",
        "other than Deflate",
    )


def set_field(header: bytearray, place: int, form: str, value: int) -> None:
    header[place : place + struct.calcsize(form)] = struct.pack(form, value)


def edited(path: Path, central: Callable[[bytearray], None]) -> Path:
    """The archive with its first entry in the list of files changed."""
    data = path.read_bytes()
    place = data.index(b"PK\x01\x02")
    header = bytearray(data[place:])
    central(header)
    path.write_bytes(data[:place] + bytes(header))
    return path


@pytest.mark.parametrize("claimed", [10, 99_999, 400_000])
def test_an_archive_that_lies_about_a_size_is_stopped_at_what_really_comes_out(
    claimed: int, tmp_path: Path
):  # R39
    noise = random.Random(2).randbytes(100_000)
    path = zipped(tmp_path / "x.zip", ("users.csv", noise))
    edited(path, central=lambda header: set_field(header, 24, "<I", claimed))
    is_refused(path, tmp_path / "in", "damaged|says that it has|more than")


def test_a_lie_whose_checksum_fits_gives_no_more_than_was_claimed(tmp_path: Path):  # R39
    path = zipped(tmp_path / "x.zip", ("users.csv", bytes(5_000_000)))

    def lie(header: bytearray) -> None:
        set_field(header, 24, "<I", 500)
        set_field(header, 16, "<I", zlib.crc32(bytes(500)))

    assert unpacked(edited(path, central=lie), tmp_path / "in") == {"users.csv": bytes(500)}


def overlapping(path: Path, names: int) -> Path:
    """An archive whose many entries all share the same packed bytes, like a flat ZIP bomb."""
    zipped(path, ("0", zlib.compress(random.Random(3).randbytes(1_000)) * 3))
    data = path.read_bytes()
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry = data[start:end]
    entries = b"".join(entry[:-1] + bytes([65 + n]) for n in range(names))
    tail = bytearray(data[end:])
    set_field(tail, 8, "<H", names)
    set_field(tail, 10, "<H", names)
    set_field(tail, 12, "<I", len(entries))
    path.write_bytes(data[:start] + entries + tail)
    return path


def test_files_that_share_their_bytes_are_refused(tmp_path: Path):  # R39
    is_refused(
        overlapping(tmp_path / "x.zip", 4), tmp_path / "in", "shares its bytes with another file"
    )


def test_a_list_of_files_that_would_fill_the_memory_is_refused_before_it_is_read(
    tmp_path: Path,
):  # R39
    path = zipped(tmp_path / "x.zip", ("users.csv", "1"))
    data = path.read_bytes()
    for place, form, value, part in (
        (12, "<I", 80_000_000, "a list of files of 80,000,000 bytes"),
        (10, "<H", 60_000, "holds 60,000 files"),
    ):
        end = bytearray(data[-22:])
        set_field(end, place, form, value)
        path.write_bytes(data[:-22] + end)
        is_refused(path, tmp_path / "in", part)
    path.write_bytes(data[:-22] + b"PK\x06\x07" + bytes(16) + data[-22:])
    is_refused(path, tmp_path / "in", "ZIP64")


def test_a_damaged_archive_is_refused_or_read_and_never_a_crash(tmp_path: Path):  # R39
    whole = zipped(
        tmp_path / "x.zip", ("users.csv", USERS * 20), ("orgs.csv", "sourcedId,type\n")
    ).read_bytes()
    rng, refused = random.Random(39), 0
    for _ in range(1_000):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(data))
            if rng.random() < 0.8:
                data[place] = rng.randrange(256)
            else:
                del data[place : place + rng.randint(1, 40)]
        (tmp_path / "x.zip").write_bytes(data)
        try:
            unpacked(tmp_path / "x.zip", tmp_path / "in")
        except SourceRefused:
            refused += 1
        assert list((tmp_path / "in").iterdir()) == []
    assert 500 < refused < 1_000


def test_a_bomb_fills_neither_memory_nor_disk(tmp_path: Path):  # R39
    bomb = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("users.csv", "w") as member,
    ):
        for _ in range(300):
            member.write(bytes(1 << 20))
    edited(bomb, central=lambda header: set_field(header, 24, "<I", 9 << 20))
    script = (
        "import sys; from pathlib import Path; from records.connectors.zip_files import"
        " open_source_folder\nfrom tests.records.peak_memory import peak_mb\nfrom"
        " records.connectors.protocol import SourceRefused\ntry:\n"
        "    with open_source_folder(Path(sys.argv[1]), Path(sys.argv[2])): print('opened')\n"
        "except SourceRefused: print('refused')\nprint(peak_mb())"
    )
    (tmp_path / "in").mkdir()
    run = subprocess.run(
        [sys.executable, "-c", script, bomb, tmp_path / "in"],
        capture_output=True,
        text=True,
        check=True,
    )
    outcome, peak = run.stdout.split()
    assert (outcome, int(peak) < 300) == ("refused", True), run.stdout
    assert list((tmp_path / "in").iterdir()) == []


def test_a_zip_file_loads_as_its_folder_does(tmp_path: Path):
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "users.csv").write_text(USERS)
    path = zipped(tmp_path / "export.zip", ("export/users.csv", USERS))
    ours, theirs = (
        load(OneRosterFiles(), source, tmp_path / str(n)) for n, source in enumerate((path, folder))
    )
    assert ours.snapshot_id == theirs.snapshot_id and ours.rows == {"students": 1}
    assert {file.name for file in (tmp_path / "0" / "snapshots").iterdir()} == {
        ".lock",
        "CURRENT",
        ours.snapshot_id,
    }
    path = zipped(tmp_path / "bad.zip", ("../users.csv", USERS))
    with pytest.raises(SourceRefused, match="outside its folder"):
        load(OneRosterFiles(), path, tmp_path / "0")
    assert {file.name for file in (tmp_path / "0" / "snapshots").iterdir()} == {
        ".lock",
        "CURRENT",
        ours.snapshot_id,
    }
