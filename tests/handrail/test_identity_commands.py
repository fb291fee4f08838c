"""`handrail identity` tells counts and line numbers, and never a name."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from records.database.engine import open_database
from records.identity.participants import linked_students
from records.staff.accounts import Organization, add_organization
from tests.handrail.test_cli import in_process
from tests.records.conftest import snapshot_of

HEADER = "participant_id,first_name,last_name,birth_date,grade,school\n"
LINES = (
    "T-1,quillfeather,thistlewood,2013-04-05,6,Harbor School\n"
    "T-2,Jayden,Oneil,2012-04-17,7,Hill School\n"
    "T-3,Xiomara,Okonkwo,2009-02-03,12,\n"
    "T-4,Wrenfield,Sparrow,17/04/13,6,Harbor School\n"
)
NAMES = (
    "quillfeather",
    "thistlewood",
    "jayden",
    "oneil",
    "xiomara",
    "okonkwo",
    "wrenfield",
    "sparrow",
    "04/17",
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A district with three students, two of them twins a letter apart, and one partner."""
    students = (
        ("s1", "Quillfeather", "Thistlewood", date(2013, 4, 5), 6, "k1"),
        ("s2", "Jayden", "O'Neil", date(2012, 4, 17), 7, "k2"),
        ("s3", "Jaylen", "O'Neil", date(2012, 4, 17), 7, "k2"),
    )
    columns = ("student_id", "first_name", "last_name", "birth_date", "grade_level", "school_id")
    snapshot_of(
        {
            "schools": [
                {"school_id": "k1", "name": "Harbor School"},
                {"school_id": "k2", "name": "Hill School"},
            ],
            "students": [dict(zip(columns, row, strict=True)) for row in students],
        },
        tmp_path / "home",
    )
    database = open_database(f"sqlite:///{tmp_path / 'home' / 'handrail.db'}")
    add_organization(database, Organization("tutors", "The Tutors", "partner"))
    return tmp_path / "home"


def plain(text: str) -> str:
    return " ".join(text.split())


def test_a_list_is_linked_and_only_counts_and_lines_are_told(home: Path, tmp_path: Path):  # R25
    file = tmp_path / "participants.csv"
    file.write_text(HEADER + LINES)
    for _ in range(2):
        run = in_process(
            "identity", "link", str(file), "--organization", "tutors", "--home", str(home)
        )
        assert (run.returncode, run.stderr) == (0, "")
        output = plain(run.stdout)
        assert (
            "participants.csv: 4 lines read, 3 participants, 1 quarantined, 0 repeated, 0 ignored."
            in output
        )
        assert "birth_date must be a day such as 2013-04-17, or empty" in output
        assert "Linked to a student: 1." in output and "Not found among the students: 1." in output
        assert "Waiting for district review: 1." in output
        assert not [name for name in NAMES if name in output.casefold()]
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    assert linked_students(database, "tutors") == {"T-1": "s1"}
    status = in_process("identity", "status", "--home", str(home))
    assert status.returncode == 0
    row = [
        cell.strip()
        for cell in next(line for line in status.stdout.splitlines() if "Tutors" in line).split("│")
    ]
    assert row[1:-1] == ["The Tutors", "1", "1", "1", "0", "0"]
    assert not [name for name in NAMES if name in status.stdout.casefold()]


def test_wrong_use_is_one_plain_sentence_and_exit_two(home: Path, tmp_path: Path):
    file = tmp_path / "participants.csv"
    file.write_text(HEADER + LINES)
    bare = tmp_path / "bare.csv"
    bare.write_text(LINES)
    for arguments, part in (
        (
            (str(file), "--organization", "nobody", "--home", str(home)),
            "there is no organization 'nobody'",
        ),
        (
            (str(bare), "--organization", "tutors", "--home", str(home)),
            "line 1: the header must name each of",
        ),
        (
            (str(tmp_path / "none.csv"), "--organization", "tutors", "--home", str(home)),
            "is not a file",
        ),
        (
            (str(file), "--organization", "tutors", "--home", str(tmp_path / "empty")),
            "run `handrail load` first",
        ),
    ):
        run = in_process("identity", "link", *arguments)
        assert (run.returncode, run.stdout) == (2, ""), run.stdout
        assert part in plain(run.stderr) and "Traceback" not in run.stderr
        assert not [name for name in NAMES if name in run.stderr.casefold()]
