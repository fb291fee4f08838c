"""What was quarantined can be handed out, corrected, and read again in its place; nothing else
changes.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from records.canonical.quarantine import QuarantinedRow
from records.connectors.corrections import (
    FORMULA_GUARD,
    QUARANTINE_COLUMNS,
    apply_corrections,
    quarantine_to_csv,
    read_corrections,
)
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.protocol import SourceRefused
from records.loading.load import load
from records.snapshots.snapshot import Snapshot

USERS = (
    "sourcedId,role,givenName,familyName,grades,ssn\n"
    's1,student,Ada,"Love, lace",05,\n'
    "s2,student,Bo,Berg,05,\n"
)
ATTENDANCE = (
    "userSourcedId,school_id,date,status\ns1,k1,2026-03-02,absent_excused\ns2,k1,2 March,tardy\n"
)


def source(folder: Path) -> Path:
    folder.mkdir()
    (folder / "users.csv").write_text(USERS)
    (folder / "attendance.csv").write_text(ATTENDANCE)
    return folder


def handed_out(home: Path) -> list[dict[str, str]]:
    text = quarantine_to_csv(Snapshot.current(home).set_aside(), "Shown to somebody.")
    *lines, terms = csv.DictReader(io.StringIO(text))
    assert terms["file"] == "# Shown to somebody."
    return lines


def handed_back(rows: list[dict[str, str]], file: Path) -> Path:
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, QUARANTINE_COLUMNS)
        writer.writeheader()
        writer.writerows([*rows, {"file": "# Shown to somebody."}])
    return file


def test_a_corrected_line_is_loaded_in_its_place_and_the_source_stays_as_it_was(
    tmp_path: Path,
):  # R35
    folder, home = source(tmp_path / "source"), tmp_path / "home"
    load(OneRosterFiles(), folder, home)
    (row,) = handed_out(home)
    assert (row["file"], row["line"], row["raw"]) == (
        "attendance.csv",
        "3",
        FORMULA_GUARD + "s2,k1,2 March,tardy",
    )
    assert (row["source"], row["columns"]) == (
        "oneroster",
        FORMULA_GUARD + "userSourcedId,school_id,date,status",
    )
    row["raw"] = row["raw"].replace("2 March", "2026-03-02")
    corrections = read_corrections(handed_back([row], tmp_path / "fixed.csv"))
    report = load(OneRosterFiles(), folder, home, corrections=corrections)
    assert not (home / "snapshots" / ".staging").exists()
    (count,) = [file for file in report.files if file.file == "attendance.csv"]
    assert (count.read, count.kept, count.quarantined) == (2, 2, 0)
    assert Snapshot.current(home).quarantined().num_rows == 0
    assert (folder / "attendance.csv").read_text() == ATTENDANCE


def test_a_row_that_nobody_edited_corrects_nothing(tmp_path: Path):
    load(OneRosterFiles(), source(tmp_path / "source"), tmp_path / "home")
    assert (
        read_corrections(handed_back(handed_out(tmp_path / "home"), tmp_path / "fixed.csv")) == []
    )


def test_a_line_with_columns_that_are_never_stored_is_put_right_without_them(tmp_path: Path):  # R38
    folder, home = source(tmp_path / "source"), tmp_path / "home"
    (folder / "users.csv").write_text(
        USERS.replace("s2,student,Bo,Berg,05,", ",student,Bo,Berg,05,123-45-6789")
    )
    load(OneRosterFiles(), folder, home)
    (row,) = [quarantined for quarantined in handed_out(home) if quarantined["file"] == "users.csv"]
    assert row["raw"] == FORMULA_GUARD + ",student,Bo,Berg,05"
    row["raw"] = FORMULA_GUARD + 's2,student,Bo,"Berg, ""the elder""",05'
    corrections = read_corrections(handed_back([row], tmp_path / "fixed.csv"))
    with apply_corrections(folder, corrections, tmp_path) as right:
        assert "123-45-6789" not in (right / "users.csv").read_text()
    assert not right.exists()
    load(OneRosterFiles(), folder, home, corrections=corrections)
    names = Snapshot.current(home).table("students").to_pandas()["last_name"].tolist()
    assert names == ["Love, lace", 'Berg, "the elder"']


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"file": "elsewhere.csv"}, "no file 'elsewhere.csv'"),
        ({"file": "../users.csv"}, "no file '../users.csv'"),
        ({"line": "99"}, "no line 99"),
        ({"line": "2"}, "not the line that was quarantined"),
    ],
)
def test_a_correction_of_another_line_is_refused(tmp_path: Path, change: dict[str, str], says: str):
    folder = source(tmp_path / "source")
    load(OneRosterFiles(), folder, tmp_path / "home")
    row = (
        handed_out(tmp_path / "home")[0]
        | {"raw": FORMULA_GUARD + "s2,k1,2026-03-02,tardy"}
        | change
    )
    with pytest.raises(SourceRefused, match=says):  # noqa: SIM117
        with apply_corrections(
            folder, read_corrections(handed_back([row], tmp_path / "fixed.csv")), tmp_path
        ):
            pass


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"line": "one"}, "line 2: line is 'one'"),
        ({"raw": "s2,k1,2026-03-02,tardy"}, "line 2: the raw line must still begin"),
        ({"raw": FORMULA_GUARD + "s2,k1\n2026-03-02,tardy"}, "the raw line contains a line break"),
    ],
)
def test_a_file_that_was_damaged_in_editing_is_refused_with_its_line(
    tmp_path: Path, change: dict[str, str], says: str
):
    load(OneRosterFiles(), source(tmp_path / "source"), tmp_path / "home")
    file = handed_back([handed_out(tmp_path / "home")[0] | change], tmp_path / "fixed.csv")
    with pytest.raises(SourceRefused, match=says):
        read_corrections(file)
    file.write_text("file,line\n")
    with pytest.raises(SourceRefused, match="line 1: there is no column 'column'"):
        read_corrections(file)


def test_no_cell_that_is_handed_out_begins_like_a_formula():  # R52
    rows = [
        QuarantinedRow("=cmd.csv", 2, None, "a reason", "=1+1", "=1+1,b", "oneroster"),
        QuarantinedRow("a.csv", 3, "x", "a reason", "@SUM(A1)", "", "hmis", "-1"),
    ]
    cells = [
        cell for row in csv.reader(io.StringIO(quarantine_to_csv(rows, "=terms"))) for cell in row
    ]
    assert len(cells) == 4 * len(QUARANTINE_COLUMNS)
    assert not [cell for cell in cells if cell[:1] and cell[:1] in "=+-@\t\r"]
