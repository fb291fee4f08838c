"""From staged rows to the tables of a snapshot: which rows count, and what is carried over.

Rows that do not count are quarantined with a reason. The reasons are part of a snapshot's digest:
another wording would give the same input another snapshot ID.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from records.canonical.quarantine import BadRow
from records.canonical.schema import TABLES, CanonicalTable
from records.connectors.protocol import Connector, SourceRefused
from records.identity.aliases import Identities
from records.loading.coverage import (
    FEWEST_STUDENTS,
    schools_without_absences,
    write_coverage,
)
from records.loading.load_report import CodeCounts, LoadReport, source_key
from records.loading.not_brought import (
    columns_not_brought,
    of_other_school_years,
    source_reports,
    staged_rows,
    tables_not_brought,
    with_earlier_columns,
)
from records.loading.parquet import (
    ROW_GROUP_SIZE,
    quoted,
    union,
    write_quarantine,
    write_sorted,
)
from records.loading.staging_sink import StagingSink
from records.loading.waiting import (
    came_back_note,
    earlier_waiting_rows,
    own_rows_notes,
    too_long_note,
    write_waiting_rows,
)
from records.snapshots.snapshot import DATE_COLUMNS, Snapshot
from records.snapshots.staging import file_sha256, manifest_digest
from records.snapshots.views import file_as_sql
from records.snapshots.waiting_rows import table_words, waiting_counts

_ENGINE_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "200MB",
    "threads": "2",
}
"""What does not fit spills into the staging folder. Each thread of a sort needs memory of its own:
two are bounded."""

_EVERY_ROW = "true"
_CORRECTED_ABSENCE = (
    "status in ('absent_excused', 'absent_unexcused') and absent_share is null"
    " and row(student_id, school_id, date) in (select day from days_{status})"
)
"""The absence of a whole day on which the student is late, or present, too."""

_NAMED_SCHOOLS = 10
_CORRECTED_BY = {"tardy": "late", "present": "present"}
"""Status of a day on which the student came to school -> what it says of the student."""


def write_tables(
    sink: StagingSink, connector: Connector, previous: Snapshot | None
) -> tuple[LoadReport, Identities]:
    """Write the tables, the quarantine and the manifest of a new snapshot into the staging folder.

    Students are written first, because rows of other tables are checked against them; the
    quarantine after all tables, because resolving rows adds to it; the manifest last, with the
    digests of all files.

    Args:
        sink: everything that the connector has read.
        previous: the snapshot from which rows are carried over; None for none.

    Returns:
        The sink's report, with the new snapshot's ID and row counts, and which identifiers stand
        for one student.

    Raises:
        SourceRefused: nothing was read.
    """
    staged, report = sink.finish(), sink.report
    if not staged and not any(count.quarantined for count in report.files):
        raise SourceRefused(f"no {connector.name} records were found: is this the right folder?")
    spill_folder = sink.staging / "spilled"
    config = _ENGINE_CONFIG | {"temp_directory": str(spill_folder)}
    with duckdb.connect(config=config) as engine:
        engine.execute("set enable_progress_bar = false")
        identities = _identities(engine, sink, connector, staged)
        sink.aliases = identities.aliases
        own_file_partners = frozenset() if report.of_partners else _own_file_partners(previous)
        report.not_brought = tables_not_brought(engine, connector, sink, staged, previous)
        report.columns_not_brought = columns_not_brought(connector, report)
        organizations = {*_organizations(engine, sink, staged), *_not_replaced(previous, report)}
        report.organizations = sorted(organizations - own_file_partners)
        replaced = _replaced_organizations(previous, report)
        _register_organizations(engine, "own_file_partners", own_file_partners)
        _register_organizations(engine, "replaced_organizations", replaced)
        _write_canonical_tables(engine, sink, connector, staged, previous)
        remaining = _remaining_sources(previous, report, replaced)
        write_coverage(
            sink.staging, understands_attendance=_understands_attendance(report, remaining)
        )
        _note_presence_alone(sink)
        write_quarantine(engine, sink, previous, remaining)
        report.rows = _row_counts(sink.staging)
        report.waiting, report.waiting_students = waiting_counts(sink.staging)
        latest_dates = _latest_dates(engine, sink.staging)
    for raw in sink.staging.glob("raw-*.parquet"):
        raw.unlink()
    shutil.rmtree(spill_folder, ignore_errors=True)
    manifest = {
        "sources": sorted([*remaining, _manifest_entry(report)], key=source_key),
        "rows": report.rows,
        "waiting": report.waiting,
        "waiting_students": report.waiting_students,
        "latest": latest_dates,
        "hashes": {
            file.name: file_sha256(file) for file in sorted(sink.staging.glob("[a-z]*.parquet"))
        },
    }
    report.snapshot_id = manifest_digest(manifest)
    (sink.staging / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))
    report.notes += sink.passing_notes
    return report, identities


def _identities(
    engine: duckdb.DuckDBPyConnection,
    sink: StagingSink,
    connector: Connector,
    staged: Sequence[str],
) -> Identities:
    """Which identifiers stand for one student, by this source and by what earlier loads found.

    What is known of an identifier that this source does not list as a student stays known.
    """
    known = sink.known_students
    if "students" not in connector.tables or "students" not in staged:
        return Identities(known.aliases)
    ids = staged_rows(engine, sink, "students").project("student_id").distinct().fetchall()
    roster = {student for (student,) in ids}
    decided = sink.aliases
    still = {
        alias: decided.get(student, student)
        for alias, student in known.aliases.items()
        if alias not in roster and alias not in decided
    }
    return Identities(
        aliases={**still, **decided},
        joined={alias: of for alias, of in decided.items() if alias in known.students},
        apart={alias: of for alias, of in known.aliases.items() if alias in roster},
    )


def _of_one_student(
    engine: duckdb.DuckDBPyConnection,
    canonical: CanonicalTable,
    sink: StagingSink,
    rows: duckdb.DuckDBPyRelation,
) -> duckdb.DuckDBPyRelation:
    """Earlier rows with the student's own identifier in place of an alias.

    Where two then have one key, the row of the student's own identifier counts.
    """
    if not sink.aliases or not canonical.is_student:
        return rows
    pairs = sorted(sink.aliases.items())
    aliases = engine.from_arrow(
        pa.table(
            {
                "alias_id": pa.array([alias for alias, _ in pairs], pa.string()),
                "of_student": pa.array([student for _, student in pairs], pa.string()),
            }
        )
    )
    names = list(rows.columns)
    joined = rows.set_alias("r").join(
        aliases.set_alias("a"), "r.student_id = a.alias_id", how="left"
    )
    mapped = joined.project(
        ", ".join(
            "coalesce(a.of_student, r.student_id) as student_id"
            if name == "student_id"
            else f'r."{name}"'
            for name in names
        )
        + ", a.alias_id is not null as _of_alias"
    )
    if "student_id" not in canonical.key:
        return mapped.project(quoted(names))
    everything = quoted([name for name in names if name != "student_id"])
    order = f"_of_alias, {everything}" if everything else "_of_alias"
    ranked = mapped.project(
        f"*, row_number() over (partition by {quoted(canonical.key)} order by {order}) as _rank"
    )
    [(dropped,)] = ranked.filter("_rank > 1").aggregate("count(*)").fetchall()
    if dropped:
        sink.passing_notes.append(
            f"{dropped:,} rows of {table_words(canonical.name)} that an earlier load brought under"
            " a further identifier of a student say what the student's own rows say, or have their"
            " key: they were left out"
        )
    return ranked.filter("_rank = 1").project(quoted(names))


def _understands_attendance(report: LoadReport, remaining: Sequence[Mapping[str, Any]]) -> bool:
    """Whether attendance codes are explained, in this load and in what remains of earlier ones.

    Where too many are not, nothing is known of anybody's attendance, and the report notes it.
    """
    reports = [asdict(report), *remaining]
    columns = [
        column
        for stored in reports
        for column, counts in stored.get("codes", {}).items()
        if counts["table"] == "attendance_events" and CodeCounts(**counts).is_too_little_understood
    ]
    if columns:
        report.notes.append(
            f"Too many values of {columns[0]} are not understood: attendance counts as not on"
            " record until somebody states what they mean."
        )
    return not columns


def _write_canonical_tables(
    engine: duckdb.DuckDBPyConnection,
    sink: StagingSink,
    connector: Connector,
    staged: Sequence[str],
    previous: Snapshot | None,
) -> None:
    """Write each table: what is carried over, what is kept of the staged rows, and what waits."""
    brought = frozenset(connector.tables) - set(sink.report.not_brought)
    untouched = frozenset() if "students" in brought else _copy_untouched(sink, brought, previous)
    students_first = sorted(TABLES, key=lambda name: (name != "students", name))
    for name in students_first:
        canonical = TABLES[name]
        replaces = _replaced_rows_sql(canonical, brought)
        waited = _waited_rows(engine, canonical, sink, previous, replaces)
        if name in untouched:
            if waited is not None:
                write_waiting_rows(engine, canonical, sink, previous, [waited])
            continue
        carried = _carried_over_rows(engine, canonical, sink, previous, replaces)
        others = [rows for rows in (carried, waited) if rows is not None]
        kept = _resolve_rows(engine, canonical, sink, previous, others) if name in staged else None
        parts = [*others, kept] if kept is not None else others
        if parts:
            _write_table(engine, canonical, sink, previous, parts)
        engine.execute("drop table if exists ranked")


def _write_table(
    engine: duckdb.DuckDBPyConnection,
    canonical: CanonicalTable,
    sink: StagingSink,
    previous: Snapshot | None,
    parts: Sequence[duckdb.DuckDBPyRelation],
) -> None:
    """Write the rows of known students as the table, and the others as those that wait."""
    file = sink.staging / f"{canonical.name}.parquet"
    is_known = _known_student_sql(engine, canonical, sink, previous)
    if is_known == _EVERY_ROW:
        write_sorted(parts, file, canonical)
        return
    write_sorted([rows.filter(is_known) for rows in parts], file, canonical)
    waiting = [rows.filter(f"not ({is_known})") for rows in parts]
    write_waiting_rows(engine, canonical, sink, previous, waiting)


def _copy_untouched(
    sink: StagingSink, brought: Collection[str], previous: Snapshot | None
) -> frozenset[str]:
    """Copy the tables that a load without students does not bring; their names."""
    if previous is None:
        return frozenset()
    files = [previous.path / f"{name}.parquet" for name in TABLES if name not in brought]
    for file in files:
        if file.exists():
            shutil.copyfile(file, sink.staging / file.name)
    return frozenset(file.stem for file in files)


def _row_counts(staging: Path) -> dict[str, int]:
    files = {name: staging / f"{name}.parquet" for name in TABLES}
    return {name: pq.read_metadata(file).num_rows for name, file in files.items() if file.exists()}


def _latest_dates(engine: duckdb.DuckDBPyConnection, staging: Path) -> dict[str, str | None]:
    """The latest date of each table that has dates."""
    latest_dates = {}
    for name in TABLES:
        file = staging / f"{name}.parquet"
        if name in DATE_COLUMNS and file.exists():
            rows = engine.read_parquet(str(file))
            [(latest,)] = rows.aggregate(f"max({DATE_COLUMNS[name]})").fetchall()
            latest_dates[name] = str(latest) if latest else None
    return latest_dates


def _register_organizations(
    engine: duckdb.DuckDBPyConnection, view: str, organization_ids: Iterable[str]
) -> None:
    """Make a set of organizations available to SQL."""
    ids = pa.array(sorted(organization_ids), pa.string())
    engine.register(view, pa.table({"organization_id": ids}))


def _organizations(
    engine: duckdb.DuckDBPyConnection, sink: StagingSink, staged: Sequence[str]
) -> Collection[str]:
    """The partners about whom this load has rows, and the one whose files these are."""
    organizations = set()
    if sink.report.organization_id is not None:
        organizations.add(sink.report.organization_id)
    for name in staged:
        if _is_by_partner(TABLES[name]):
            rows = engine.read_parquet(str(sink.staging / f"raw-{name}-*.parquet"))
            distinct = rows.project("organization_id").distinct().fetchall()
            organizations |= {organization_id for (organization_id,) in distinct}
    return organizations


def _own_file_partners(previous: Snapshot | None) -> frozenset[str]:
    """Partners whose own files were loaded: the district's source does not change their data."""
    return frozenset(
        organization_id
        for report in source_reports(previous)
        if report.get("of_partners")
        for organization_id in report["organizations"]
    )


def _is_by_partner(canonical: CanonicalTable) -> bool:
    return any(column.name == "organization_id" for column in canonical.columns)


def _not_replaced(previous: Snapshot | None, report: LoadReport) -> Collection[str]:
    """Partners of whom this source brought something that it does not replace now: it is theirs
    still, and the source's to replace later.
    """
    if not any(_is_by_partner(TABLES[name]) for name in report.not_brought):
        return ()
    return _organizations_brought_before(previous, report)


def _organizations_brought_before(previous: Snapshot | None, report: LoadReport) -> frozenset[str]:
    brought_before = [
        earlier.get("organizations", ())
        for earlier in source_reports(previous)
        if source_key(earlier) == source_key(asdict(report))
    ]
    return frozenset[str]().union(*brought_before)


def _replaced_organizations(previous: Snapshot | None, report: LoadReport) -> frozenset[str]:
    """Partners whose earlier programs and services this load replaces.

    They are those of this load, and those that its source brought before: so loading one partner's
    history leaves the others' alone, and a partner who is gone from a source is gone.
    """
    return _organizations_brought_before(previous, report).union(report.organizations)


def _remaining_sources(
    previous: Snapshot | None, report: LoadReport, replaced: frozenset[str]
) -> list[dict[str, Any]]:
    """The reports of earlier loads of which something remains."""
    return [
        earlier
        | {
            "organization_id": earlier.get("organization_id"),
            "organizations": sorted(set(earlier.get("organizations", ())) - replaced),
        }
        for earlier in source_reports(previous)
        if source_key(earlier) != source_key(asdict(report))
        and earlier.get("organization_id") not in replaced
    ]


def _manifest_entry(report: LoadReport) -> dict[str, Any]:
    """What a manifest stores of one load: only what depends on its own files."""
    return {
        name: value
        for name, value in report.to_dict().items()
        if name not in ("rows", "waiting", "waiting_students", "changed", "snapshot_id")
    }


def _replaced_rows_sql(canonical: CanonicalTable, brought: Collection[str]) -> str:
    """The condition that this load replaces an earlier row of a table."""
    if canonical.name not in brought:
        return "false"
    if not _is_by_partner(canonical):
        return _EVERY_ROW
    return "organization_id in (select organization_id from replaced_organizations)"


def _carried_over_rows(
    engine: duckdb.DuckDBPyConnection,
    canonical: CanonicalTable,
    sink: StagingSink,
    previous: Snapshot | None,
    replaces: str,
) -> duckdb.DuckDBPyRelation | None:
    """Rows of the previous snapshot's table that this load does not replace; None if all are."""
    file = None if previous is None else previous.path / f"{canonical.name}.parquet"
    if file is None or not file.exists() or replaces == _EVERY_ROW:
        return None
    rows = engine.sql(f"from {file_as_sql(file, canonical)}").filter(f"not ({replaces})")
    return _of_one_student(engine, canonical, sink, rows)


def _waited_rows(
    engine: duckdb.DuckDBPyConnection,
    canonical: CanonicalTable,
    sink: StagingSink,
    previous: Snapshot | None,
    replaces: str,
) -> duckdb.DuckDBPyRelation | None:
    """Waiting rows of the previous snapshot that this load does not replace; None if all are.

    How many come back, or have waited too long, is noted.
    """
    rows, too_long = earlier_waiting_rows(engine, canonical, sink, previous, f"not ({replaces})")
    if rows is None or replaces == _EVERY_ROW:
        return None
    rows = _of_one_student(engine, canonical, sink, rows)
    if too_long:
        sink.passing_notes.append(too_long_note(canonical, too_long))
    is_known = _known_student_sql(engine, canonical, sink, previous)
    [(came_back,)] = rows.filter(is_known).aggregate("count(*)").fetchall()
    if came_back:
        sink.passing_notes.append(came_back_note(canonical, came_back))
    return rows


def _known_student_sql(
    engine: duckdb.DuckDBPyConnection,
    canonical: CanonicalTable,
    sink: StagingSink,
    previous: Snapshot | None,
) -> str:
    """The condition that a row's student is in the new snapshot.

    It is `_EVERY_ROW` for tables that are not about students, and where no roster was ever loaded.
    """
    if not canonical.is_student or canonical.name == "students":
        return _EVERY_ROW
    students = sink.staging / "students.parquet"
    if not students.exists():
        return "false" if _has_had_students(previous) else _EVERY_ROW
    engine.read_parquet(str(students)).create_view("known_students", replace=True)
    return "student_id in (select student_id from known_students)"


def _has_had_students(previous: Snapshot | None) -> bool:
    return previous is not None and bool(
        "students" in previous.manifest["rows"] or previous.manifest.get("waiting")
    )


def _resolve_rows(
    engine: duckdb.DuckDBPyConnection,
    canonical: CanonicalTable,
    sink: StagingSink,
    previous: Snapshot | None,
    others: Sequence[duckdb.DuckDBPyRelation],
) -> duckdb.DuckDBPyRelation:
    """The staged rows of one table that are kept; the others are quarantined or counted.

    Rows of unknown students must not take the place of a good row with the same key. Those of
    partners' own files are kept, and will wait: a partner's file may come before the roster does.

    Args:
        others: earlier rows that this load does not replace.
    """
    rows = staged_rows(engine, sink, canonical.name)
    if canonical.name in sink.report.not_brought:
        rows = of_other_school_years(rows, others)
    is_known = in_roster = _known_student_sql(engine, canonical, sink, previous)
    if not sink.report.of_partners and is_known != _EVERY_ROW:
        rows, is_known = _reject_unknown_students(canonical, sink, rows, is_known), _EVERY_ROW
    if _is_by_partner(canonical):
        rows = _reject_own_file_partners(canonical, sink, rows)
    if others and "organization_id" not in canonical.key:
        rows = _reject_keys_of_others(canonical, sink, rows, others)
    kept = _one_row_per_key(engine, canonical, sink, rows.project(f"*, ({is_known}) as _known"))
    kept = _without_corrected_absences(canonical, sink, kept)
    if is_known != _EVERY_ROW:
        sink.passing_notes += own_rows_notes(kept.filter("not _known"))
    earlier = (
        _carried_over_rows(engine, canonical, sink, previous, "false")
        if canonical.name in sink.report.columns_not_brought
        else None
    )
    return with_earlier_columns(canonical, sink, kept, earlier, in_roster)


def _reject_unknown_students(
    canonical: CanonicalTable, sink: StagingSink, rows: duckdb.DuckDBPyRelation, is_known: str
) -> duckdb.DuckDBPyRelation:
    _reject(
        sink,
        canonical,
        rows.filter(f"not ({is_known})"),
        "student_id",
        "no student has this identifier in the students that were loaded",
    )
    return rows.filter(is_known)


def _reject_own_file_partners(
    canonical: CanonicalTable, sink: StagingSink, rows: duckdb.DuckDBPyRelation
) -> duckdb.DuckDBPyRelation:
    """Reject what the district's source says about partners whose own files were loaded."""
    has_own_files = "organization_id in (select organization_id from own_file_partners)"
    _reject(
        sink,
        canonical,
        rows.filter(has_own_files),
        "organization_id",
        "this organisation's programs and services come from its own files",
    )
    return rows.filter(f"not ({has_own_files})")


def _reject_keys_of_others(
    canonical: CanonicalTable,
    sink: StagingSink,
    rows: duckdb.DuckDBPyRelation,
    others: Sequence[duckdb.DuckDBPyRelation],
) -> duckdb.DuckDBPyRelation:
    """Reject rows whose key another organization's row has, which is carried over or waits."""
    key = quoted(canonical.key)
    union(others, f"row({key}) as key").create_view("keys_of_others", replace=True)
    rows = rows.project(f"*, row({key}) as _key")
    is_taken = "_key in (select key from keys_of_others)"
    _reject(
        sink,
        canonical,
        rows.filter(is_taken),
        canonical.key[0],
        f"another organisation has a row with the same key ({', '.join(canonical.key)})",
    )
    return rows.filter(f"not ({is_taken})")


def _one_row_per_key(
    engine: duckdb.DuckDBPyConnection,
    canonical: CanonicalTable,
    sink: StagingSink,
    rows: duckdb.DuckDBPyRelation,
) -> duckdb.DuckDBPyRelation:
    """The first row of each key, in the order of reading, but one of a known student first.

    A later row with the same values is counted as a duplicate, one with other values is rejected.
    """
    same_key = f"partition by {quoted(canonical.key)} order by not _known, _seq"
    values = f"row({quoted(column.name for column in canonical.columns)})"
    rows.project(
        f"*, row_number() over ({same_key}) as _rank,"
        f" {values} is not distinct from first_value({values}) over ({same_key}) as _is_duplicate"
    ).create("ranked")
    ranked = engine.table("ranked")
    if not ranked.filter("_rank > 1").limit(1).fetchall():
        return ranked
    _reject(
        sink,
        canonical,
        ranked.filter("_rank > 1 and not _is_duplicate"),
        canonical.key[0],
        f"another row has the same key ({', '.join(canonical.key)}) and other values",
    )
    duplicates = ranked.filter("_rank > 1 and _is_duplicate and _counted")
    for file, count in duplicates.aggregate("_file, count(*)").fetchall():
        sink.count(file).duplicates += count
        sink.count(file).kept -= count
    return ranked.filter("_rank = 1")


def _note_presence_alone(sink: StagingSink) -> None:
    schools = schools_without_absences(sink.staging)
    if schools:
        listed = ", ".join(schools[:_NAMED_SCHOOLS]) + (
            f" and {len(schools) - _NAMED_SCHOOLS:,} more" if len(schools) > _NAMED_SCHOOLS else ""
        )
        sink.note(
            "Schools that send who was there, and hardly an absence: a day without an entry may be"
            " an absence, or a day on which nobody entered anything. Their attendance stays unknown"
            f" until they send absences; with fewer than {FEWEST_STUDENTS} students such a day"
            f" counts as attended, so ask them: {listed}"
        )


def _without_corrected_absences(
    canonical: CanonicalTable, sink: StagingSink, rows: duckdb.DuckDBPyRelation
) -> duckdb.DuckDBPyRelation:
    """Reject the absence of a whole day on which the student is recorded as late or present too.

    Who came to school, late or not, was there: that is most likely the correction of an absence
    entered before it. Late for a class is another matter: its entry has a part.
    """
    if canonical.name != "attendance_events":
        return rows
    for status, words in _CORRECTED_BY.items():
        came = rows.filter(f"status = '{status}' and part is null")
        days = came.project("row(student_id, school_id, date) as day").distinct()
        days.create_view(f"days_{status}", replace=True)
        is_corrected = _CORRECTED_ABSENCE.format(status=status)
        _reject(
            sink,
            canonical,
            rows.filter(is_corrected),
            "status",
            f"the student is recorded as {words} on the same day, so this absence was likely"
            " corrected",
        )
        rows = rows.filter(f"not ({is_corrected})")
    return rows


def _reject(
    sink: StagingSink,
    canonical: CanonicalTable,
    rows: duckdb.DuckDBPyRelation,
    column: str,
    reason: str,
) -> None:
    """Quarantine rows that were kept until now, in the order of reading."""
    names = [canonical_column.name for canonical_column in canonical.columns]
    ordered = rows.project(f"_file, _line, _counted, _seq, {quoted(names)}").order("_seq")
    for batch in ordered.to_arrow_reader(ROW_GROUP_SIZE):
        for row in batch.to_pylist():
            raw = json.dumps({name: row[name] for name in names}, default=str)
            bad_row = BadRow(row["_file"], row["_line"], column, reason, raw)
            if row["_counted"]:
                sink.count(bad_row.file).kept -= 1
                sink.quarantine(bad_row)
            else:
                sink.quarantine_derived(bad_row)
