"""CSV: every record and every physical line accounted for, whatever happens to a file."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from records.canonical.never_ingest import NEVER_INGEST
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.partner_files.service_history import ServiceHistory
from records.connectors.protocol import FileCount, SourceRefused
from records.loading.load import load
from records.snapshots.snapshot import Snapshot
from tests.records import six_student_district
from tests.records.conftest import snapshot_of
from tests.records.connectors.test_mutated_files import data_records

PROGRAMS = "program_id,organization_id,name,support,capacity,cost_per_session,min_grade,max_grade\n"
SESSIONS = "session_id,student_id,program_id,organization_id,date,attended,minutes\n"


def write_history(folder: Path, sessions: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "programs.csv").write_text(
        PROGRAMS + "p1,tutors,After school,tutoring,20,35.5,0,12\n"
    )
    (folder / "sessions.csv").write_bytes(sessions)
    return folder


def test_an_unclosed_quote_is_put_aside_alone_and_its_neighbours_are_kept(tmp_path: Path):  # R35
    snapshot_of(six_student_district.rows(), tmp_path)
    lines = [f"x{n},s1,p1,tutors,2026-03-{n:02d},true,45" for n in range(1, 31)]
    lines[9] = 'x10,s1,p1,tutors,2026-03-10,"true,45'
    folder = write_history(tmp_path / "in", (SESSIONS + "\n".join(lines) + "\n").encode())
    report = load(ServiceHistory(), folder, tmp_path, merge=True)
    count = next(count for count in report.files if count.file == "sessions.csv")
    assert (count.read, count.kept, count.quarantined) == (30, 29, 1)
    [bad] = Snapshot.current(tmp_path).quarantined().to_pylist()
    assert (bad["file"], bad["line"]) == ("sessions.csv", 11)
    assert bad["raw"] == lines[9] and "quotation mark" in bad["reason"]


KINDS = ["flip", "cut", "quote", "comma", "newline", "copy", "zero"]
MUTATION = st.tuples(st.sampled_from(KINDS), st.integers(0, 10**6))


@settings(max_examples=20, deadline=None)
@given(mutations=st.lists(MUTATION, min_size=1, max_size=6), seed=st.integers(0, 10**6))
def test_however_a_file_is_damaged_each_physical_line_is_accounted_for(mutations, seed):  # R35
    rng = random.Random(seed)
    body = [
        f"x{n},s{rng.randint(1, 7)},p1,tutors,2026-03-{rng.randint(1, 31):02d},"
        f"{rng.choice(['true', 'no', 'x'])},45"
        for n in range(25)
    ]
    data = bytearray(("\n".join(body) + "\n").encode())
    for kind, number in mutations:
        place = number % len(data)
        if kind == "flip":
            data[place] = number % 256
        elif kind == "cut":
            del data[place : place + 3]
        elif kind == "copy":
            data[place:place] = data[max(0, place - 40) : place]
        else:
            data[place:place] = {"quote": b'"', "comma": b",", "newline": b"\n", "zero": b"\0"}[
                kind
            ]
    physical = len(bytes(data).split(b"\n")) - bytes(data).endswith(b"\n")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        snapshot_of(six_student_district.rows() | {"service_sessions": []}, home)
        report = load(
            ServiceHistory(),
            write_history(home / "in", SESSIONS.encode() + bytes(data)),
            home,
            merge=True,
        )
        count = next(count for count in report.files if count.file == "sessions.csv")
        assert count.read == len(data_records(SESSIONS.encode() + bytes(data)))
        bad = [
            row
            for row in Snapshot.current(home).quarantined().to_pylist()
            if row["file"] == "sessions.csv"
        ]
        assert len(bad) == count.quarantined
        misplaced = [
            row for row in bad if not 2 <= row["line"] <= physical + 1 or not row["reason"]
        ]
        assert not misplaced
        loaded = Snapshot.current(home).path / "service_sessions.parquet"
        in_table = pq.read_metadata(loaded).num_rows if loaded.exists() else 0
        assert in_table + report.waiting.get("service_sessions", 0) == count.kept


LINE_ITEMS = "sourcedId,title,description,classSourcedId,dueDate\n"
ROSTER = {
    "users.csv": "sourcedId,role,givenName,familyName\n1,student,Ann,Lee\n",
    "classes.csv": "sourcedId,title,schoolSourcedId\nk1,Math,100\n",
}


def load_line_items(where: Path, text: str) -> tuple[FileCount, list[str], list[tuple[int, str]]]:
    """What became of lineItems.csv: its count, the titles that have a mark, and what is bad."""
    folder = where / "in"
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in ROSTER.items():
        (folder / file).write_text(content)
    header = LINE_ITEMS if "\n" in text else LINE_ITEMS.replace("\n", "\r")
    (folder / "lineItems.csv").write_bytes((header + text).encode())
    results = "".join(f"R{n},L{n},1,50\n" for n in range(1, 10))
    (folder / "results.csv").write_text(
        f"sourcedId,lineItemSourcedId,studentSourcedId,score\n{results}"
    )
    report = load(OneRosterFiles(), folder, where)
    [count] = [count for count in report.files if count.file == "lineItems.csv"]
    snapshot = Snapshot.current(where)
    titles = snapshot.table("gradebook_entries")["title"].to_pyarrow().to_pylist()
    bad = [
        (row["line"], row["reason"])
        for row in snapshot.quarantined().to_pylist()
        if row["file"] == "lineItems.csv"
    ]
    return count, titles, bad


UNCLOSED = "a quotation mark is opened and not closed on the same line"


@pytest.mark.parametrize(
    "text",
    [
        'L1,Essay,"Read.\nWrite.",k1,\nL2,Quiz,,k1,\n',
        'L1,Essay,"Read.\r\n\r\nWrite ""two"" pages.",k1,\r\nL2,Quiz,,k1,\r\n',
        'L1,Essay,"One, two,\nthree\nand ""four"", five",k1,\nL2,Quiz,"a\nb",k1,',
        f'L1,Essay,"{"more" + chr(10) * 49}",k1,\nL2,Quiz,"",k1,\n',
        'L1,Essay,"Read.\rWrite.",k1,\rL2,Quiz,,k1,\r',
    ],
)
def test_a_quoted_field_may_hold_line_breaks(text: str, tmp_path: Path):
    count, titles, bad = load_line_items(tmp_path, text)
    assert (count.read, count.kept, bad) == (2, 2, []), "a record counts once"
    assert sorted(titles) == ["Essay", "Quiz"]


def test_the_lines_below_a_record_of_several_lines_keep_their_numbers(tmp_path: Path):
    text = 'L1,Essay,"Read.\nWrite.",k1,\nL2,Quiz,,k1,soon\nL3,Essay,"a\nb",k1,later\n'
    _, _, bad = load_line_items(tmp_path, text)
    assert [line for line, _ in bad] == [4, 5]
    rows = Snapshot.current(tmp_path).quarantined().to_pylist()
    assert 'L3,Essay,"a\nb",k1,later' in [row["raw"] for row in rows]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        # The next line closes no quote, has quotes of its own, or would make too many fields.
        ('L1,Essay,"Read.,k1,\nL2,Quiz,,k1,\n', ["Quiz"]),
        ('L1,Essay,"Read.,k1,\nL2,"Quiz",,k1,\n', ["Quiz"]),
        ('L1,Essay,"Read.,k1,\nL2,Quiz,"",k1,\nL3,Map,"x",k1,\n', ["Map", "Quiz"]),
        # A later damaged line would close the quote, and a good one stands between them.
        ('L1,Essay,"Read.,k1,\nL2,Quiz,,k1,\nL3 is cut",k1,\n', ["Quiz"]),
        ('L1,Essay,"Read.\nL2,Quiz,,k1,\nL3,Map,,k1,\nL4 pages.",k1,\n', ["Map", "Quiz"]),
        # It closes, and the whole has another number of fields than the header.
        ('L1,Essay,"Read.\nWrite.",k1\nL2,Quiz,,k1,\n', ["Quiz"]),
        # It closes too late.
        (f'L1,Essay,"Read.{chr(10) * 50}Write.",k1,\nL2,Quiz,,k1,\n', ["Quiz"]),
        ('L2,Quiz,,k1,\nL1,Essay,"Read.\n', ["Quiz"]),
    ],
)
def test_an_unclosed_quote_swallows_no_line_that_is_a_record(
    text: str, kept: list[str], tmp_path: Path
):  # R35
    count, titles, bad = load_line_items(tmp_path, text)
    assert sorted(titles) == kept
    assert (
        count.read
        == count.kept + count.quarantined + count.ignored
        == len(data_records((LINE_ITEMS + text).encode()))
    )
    assert any(reason == UNCLOSED for _, reason in bad)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_stray_quote_in_one_line_costs_no_other_record(data):  # R35
    note = st.sampled_from(['"a\nb"', '"a, b\n\nc ""d"""', "", "plain", '"quoted"'])
    records = [f"x{n},{data.draw(note)},s1,p1,tutors,2026-03-{n:02d},true,45" for n in range(1, 13)]
    damaged = data.draw(st.integers(0, len(records) - 1))
    line = f"x{damaged + 1},note,s1,p1,tutors,2026-03-{damaged + 1:02d},true,45"
    place = data.draw(st.integers(0, len(line)))
    records[damaged] = line[:place] + '"' + line[place:]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        snapshot_of(six_student_district.rows() | {"service_sessions": []}, home)
        header = SESSIONS.replace("session_id,", "session_id,note,")
        text = header + "\n".join(records) + "\n"
        load(ServiceHistory(), write_history(home / "in", text.encode()), home, merge=True)
        table = Snapshot.current(home).table("service_sessions")
        loaded = set(table["session_id"].to_pyarrow().to_pylist())
        assert loaded >= {f"x{n + 1}" for n in range(len(records)) if n != damaged}


def test_columns_that_are_never_stored_reach_no_disk_even_when_their_line_is_bad(
    tmp_path: Path,
):  # R38
    spellings = [
        "SSN",
        "Social_Security_Number",
        "citizenshipStatus",
        "Country of Birth",
        "visaType",
        "religion",
        "politicalParty",
        "home_language",
        "HomeAddress",
        "migrantFlag",
        "diagnosis",
        "cityOfBirth",
    ]
    folder = tmp_path / "in"
    folder.mkdir()
    header = "sourcedId,role,givenName,familyName,grades,orgSourcedIds," + ",".join(spellings)
    secret = ",".join(f"CANARY{n}" for n in range(len(spellings)))
    (folder / "users.csv").write_text(
        f"{header}\nu1,student,Ada,Green,05,k1,{secret}\n,student,Bo,Blue,05,k1,{secret}\n"
        f'u3,student,"Cy,Red,05,k1,{secret}\nu4,student,123-45-6789,Pink,05,k1,{secret}\n'
    )
    report = load(OneRosterFiles(), folder, tmp_path)
    assert {dropped["column"] for dropped in report.dropped_columns} == set(spellings)
    assert {dropped["kind"] for dropped in report.dropped_columns} <= set(NEVER_INGEST)
    [count] = report.files
    assert (count.kept, count.quarantined) == (1, 3)
    for file in (tmp_path / "snapshots").rglob("*"):
        if file.is_file():
            stored = file.read_bytes()
            assert b"CANARY" not in stored and b"123-45-6789" not in stored, file


def test_a_line_that_never_ends_is_put_aside_without_being_read_into_memory(tmp_path: Path):  # R35
    snapshot_of(six_student_district.rows(), tmp_path)
    good = b"x1,s1,p1,tutors,2026-03-01,true,45\n"
    folder = write_history(
        tmp_path / "in", SESSIONS.encode() + good + b"y" * 5_000_000 + b"\n" + good
    )
    report = load(ServiceHistory(), folder, tmp_path, merge=True)
    count = next(count for count in report.files if count.file == "sessions.csv")
    assert (count.read, count.kept, count.quarantined, count.duplicates) == (3, 1, 1, 1)
    [bad] = Snapshot.current(tmp_path).quarantined().to_pylist()
    assert (bad["line"], bad["reason"]) == (3, "the line is longer than 1,048,576 bytes")
    assert set(bad["raw"]) == {"y"} and len(bad["raw"]) == 1_000


def test_a_header_without_a_needed_column_is_refused_by_name(tmp_path: Path):
    snapshot_of(six_student_district.rows(), tmp_path)
    folder = write_history(tmp_path / "in", b"session,student_id\n")
    with pytest.raises(
        SourceRefused, match=r"sessions\.csv, line 1: there is no column 'session_id'"
    ):
        load(ServiceHistory(), folder, tmp_path, merge=True)
    assert Snapshot.current(tmp_path).table("service_sessions").count().to_pyarrow().as_py() == 2


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_published_oneroster_samples_load_with_every_line_accounted_for(
    version: str, shared_data: Path, tmp_path: Path
):
    source = shared_data / f"oneroster-{version}"
    report = load(OneRosterFiles(), source, tmp_path)
    for count in report.files:
        lines = (source / count.file).read_bytes().splitlines()
        assert count.read == len(lines) - 1, count
    bad = {
        (row["file"], row["line"]): row["reason"]
        for row in Snapshot.current(tmp_path).quarantined().to_pylist()
    }
    overlong = (  # the sample's two teachers end in a comma too many
        "the line has 19 fields and the header has 18"
    )
    assert bad == (
        {("users.csv", 10): overlong, ("users.csv", 11): overlong} if version == "1.1" else {}
    )
    assert report.rows["students"] > 0
    assert report.rows["school_enrollments"] == 8, "1.0 rosters carry no dates: terms give them"
    assert any(missing.file == "attendance.csv" for missing in report.missing)


def test_loading_the_district_again_keeps_the_partners_history(shared_data: Path, tmp_path: Path):
    load(OneRosterFiles(), shared_data / "oneroster-1.1", tmp_path)
    student = Snapshot.current(tmp_path).table("students")["student_id"].min().to_pyarrow().as_py()
    folder = write_history(
        tmp_path / "in", f"{SESSIONS}x1,{student},p1,tutors,2026-03-01,true,45\n".encode()
    )
    load(ServiceHistory(), folder, tmp_path, merge=True)
    report = load(OneRosterFiles(), shared_data / "oneroster-1.1", tmp_path, merge=True)
    assert report.rows["service_sessions"] == 1
