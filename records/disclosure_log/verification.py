"""Reading the whole log to find any row that was changed, removed, added or moved.

The log is checked in segments, side by side in several processes
(`records.disclosure_log.hash_chain`). Beyond the chain itself, it is compared with checkpoints, and
each student reference with the name that it was made from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Select, String, Text, case, cast, func, select

from records.database.category_list import CategoryList
from records.database.engine import Database
from records.database.tables import DisclosureRow, LogStudentRow
from records.disclosure_log.checkpoints import Checkpoint, latest_checkpoint
from records.disclosure_log.disclosures import HASHED_COLUMNS
from records.disclosure_log.hash_chain import GENESIS, SEPARATOR, Segment, check_segments
from records.disclosure_log.student_references import student_reference

_SEGMENT_ROWS = 125_000
"""Rows of the log that one process checks at a time."""


@dataclass(frozen=True)
class Verification:
    """The outcome of reading the whole chain: rows read, and the first problem unless it holds.

    `nameless` counts students whose disclosures can no longer be traced to them: it must equal the
    number of students destroyed, or somebody has hidden one.
    """

    ok: bool
    rows: int
    problem: str | None = None
    nameless: int = 0


def verify_log(
    database: Database,
    checkpoints: Iterable[Checkpoint] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
    processes: int = 1,
) -> Verification:
    """Read the chain from its beginning, and compare it with checkpoints taken earlier.

    Args:
        checkpoints: any number, in any order; each is compared.
        progress: called with the rows read so far and the rows in all, after each segment.
        processes: how many may read side by side.
    """
    expected_hashes = [(checkpoint.seq, checkpoint.hash) for checkpoint in checkpoints]
    total = latest_checkpoint(database).seq
    segments = _segments(database, total, expected_hashes)
    first_rows: dict[str, int] = {}
    rows = 0
    for result in check_segments(segments, processes):
        rows = result.last_row
        if result.problem is not None:
            return Verification(False, rows, result.problem)
        for reference, seq in result.first_rows.items():
            first_rows.setdefault(reference, seq)
        progress(rows, max(rows, total))
    last_expected = max((seq for seq, _ in expected_hashes), default=0)
    if rows < last_expected:
        return Verification(False, rows, f"rows {rows + 1} to {last_expected} were cut off the end")
    return _verify_references(database, rows, first_rows)


def _segments(
    database: Database, total: int, expected_hashes: Sequence[tuple[int, str]]
) -> list[Segment]:
    """The whole log in segments that can be checked side by side.

    The first begins wherever the log does and the last goes on to its end, so that no row is
    outside of them.
    """
    engine = database.engine
    arguments, options = engine.dialect.create_connect_args(engine.url)
    # A process gets its segment as JSON: options that a driver takes as objects stay behind.
    json_options = {
        name: value for name, value in options.items() if isinstance(value, str | int | float)
    }
    starts = [*range(0, total, _SEGMENT_ROWS)] or [0]
    ends = [*starts[1:], None]
    hashes_before = _hashes(database, starts)
    return [
        Segment(
            driver=engine.dialect.loaded_dbapi.__name__,
            arguments=tuple(arguments),
            options=json_options,
            query=_segment_sql(engine, after, until),
            after=after,
            until=until,
            previous=hashes_before.get(after, "") if after else GENESIS,
            checkpoints=[
                (seq, expected)
                for seq, expected in expected_hashes
                if seq > after and (until is None or seq <= until)
            ],
        )
        for after, until in zip(starts, ends, strict=True)
    ]


def _hashes(database: Database, seqs: Sequence[int]) -> dict[int, str]:
    """The stored hash of each of these rows that exists, by number."""
    query = select(DisclosureRow.seq, DisclosureRow.hash).where(DisclosureRow.seq.in_(seqs))
    with database.session() as session:
        return dict(session.execute(query).all())


def _segment_sql(engine: Engine, after: int, until: int | None) -> str:
    """The query of one segment as SQL text with its numbers written in.

    The first segment has no lower bound and the last no upper one: a row with a number that no row
    should have must be read, too.
    """
    query = _select_rows(engine.dialect.name)
    if after:
        query = query.where(DisclosureRow.seq > after)
    if until is not None:
        query = query.where(DisclosureRow.seq <= until)
    return str(query.compile(engine, compile_kwargs={"literal_binds": True}))


def _select_rows(dialect: str) -> Select[Any]:
    """Number, hash and reference of each row, then its hashed fields as text, in order.

    PostgreSQL joins the fields, which a driver fetches twice as fast as thirteen columns. SQLite
    would be no faster, and would join bytes that stand where text belongs.
    """
    fields: list[Any] = [
        column if isinstance(column.type, String | CategoryList) else cast(column, Text)
        for column in HASHED_COLUMNS
    ]
    if dialect != "sqlite":
        # concat_ws leaves out a NULL, so that fields could move: a row with one is read as NULL.
        no_nulls = func.num_nulls(*fields) == 0
        fields = [case((no_nulls, func.concat_ws(SEPARATOR, *fields)))]
    labeled = (field.label(f"field_{number}") for number, field in enumerate(fields))
    return select(
        DisclosureRow.seq, DisclosureRow.hash, DisclosureRow.student_ref, *labeled
    ).order_by(DisclosureRow.seq)


def _verify_references(
    database: Database, rows: int, first_rows: Mapping[str, int]
) -> Verification:
    """Whether each reference that has a name is the one made from that name."""
    with database.session() as session:
        expected_references = {
            row.student_ref: student_reference(row.salt, row.student_id)
            for row in session.scalars(select(LogStudentRow))
        }
    mismatched_rows = [
        first_rows[reference]
        for reference, expected in expected_references.items()
        if reference != expected and reference in first_rows
    ]
    if mismatched_rows:
        return Verification(
            False, rows, f"row {min(mismatched_rows)} was given the name of another student"
        )
    return Verification(True, rows, nameless=len(first_rows.keys() - expected_references.keys()))
