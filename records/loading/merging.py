"""From staged rows to the tables of a snapshot: which rows count, and what is carried over."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from records.canonical.quarantine import BadRow
from records.canonical.schema import TABLES, CanonicalTable
from records.connectors.protocol import (
    Connector,
    SourceRefused,
)
from records.loading.load_report import LoadReport, source_key
from records.loading.parquet import ROW_GROUP_SIZE, write_quarantine, write_sorted
from records.loading.staging_sink import StagingSink
from records.snapshots.snapshot import DATE_COLUMNS, Snapshot
from records.snapshots.staging import file_sha256, manifest_digest

_ENGINE_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "200MB",
    "threads": "2",
}
"""What does not fit spills into the staging folder. Each thread of a sort needs memory of its own:
two are bounded."""


def write_tables(
    collected: StagingSink, connector: Connector, previous: Snapshot | None
) -> LoadReport:
    found, report = collected.finish(), collected.report
    if not found and not any(count.quarantined for count in report.files):
        raise SourceRefused(f"no {connector.name} records were found: is this the right folder?")
    with duckdb.connect(
        config=_ENGINE_CONFIG | {"temp_directory": str(collected.staging / "spilled")}
    ) as engine:
        engine.execute("set enable_progress_bar = false")
        of_partners = frozenset() if report.of_partners else _of_partners(previous)
        engine.register(
            "of_partners", pa.table({"organization_id": pa.array(sorted(of_partners), pa.string())})
        )
        report.organizations = sorted(set(_organizations(engine, collected, found)) - of_partners)
        replaced = _replaced(previous, report)
        engine.register(
            "replaced", pa.table({"organization_id": pa.array(sorted(replaced), pa.string())})
        )
        untouched = (
            _copy_untouched(collected, connector, previous)
            if "students" not in found
            else frozenset()
        )
        for name in sorted(set(TABLES) - untouched, key=lambda name: (name != "students", name)):
            carried = _carried_over_rows(engine, TABLES[name], connector, collected, previous)
            kept = (
                _resolve_rows(engine, TABLES[name], collected, carried) if name in found else None
            )
            parts = [rows for rows in (carried, kept) if rows is not None]
            if parts:
                write_sorted(engine, parts, collected.staging / f"{name}.parquet", TABLES[name])
        sources = _remaining_sources(previous, report, replaced)
        write_quarantine(engine, collected, previous, sources)
        latest = {}
        for name in TABLES:
            file = collected.staging / f"{name}.parquet"
            if file.exists():
                report.rows[name] = pq.read_metadata(file).num_rows
                if name in DATE_COLUMNS:
                    last = (
                        engine.read_parquet(str(file))
                        .aggregate(f"max({DATE_COLUMNS[name]})")
                        .fetchall()[0][0]
                    )
                    latest[name] = str(last) if last else None
    for raw in collected.staging.glob("raw-*.parquet"):
        raw.unlink()
    shutil.rmtree(collected.staging / "spilled", ignore_errors=True)
    manifest = {
        "sources": sorted([*sources, _manifest_entry(report)], key=source_key),
        "rows": report.rows,
        "latest": latest,
        "hashes": {
            file.name: file_sha256(file)
            for file in sorted(collected.staging.glob("[a-z]*.parquet"))
        },
    }
    report.snapshot_id = manifest_digest(manifest)
    (collected.staging / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))
    return report


def _copy_untouched(
    collected: StagingSink, connector: Connector, previous: Snapshot | None
) -> frozenset[str]:
    """Copy the tables of which a load changes nothing, because it brings neither them nor the
    students; their names.
    """
    if previous is None:
        return frozenset()
    files = [previous.path / f"{name}.parquet" for name in TABLES if name not in connector.tables]
    for file in files:
        if file.exists():
            shutil.copyfile(file, collected.staging / file.name)
    return frozenset(file.stem for file in files)


def _organizations(
    engine: duckdb.DuckDBPyConnection, collected: StagingSink, found: list[str]
) -> list[str]:
    """The partners of whom this load speaks, the one whose files these are among them."""
    one = collected.report.organization_id
    organizations = set() if one is None else {one}
    for name in found:
        if _is_partners(TABLES[name]):
            rows = engine.read_parquet(str(collected.staging / f"raw-{name}-*.parquet"))
            organizations |= {
                row[0] for row in rows.project("organization_id").distinct().fetchall()
            }
    return sorted(organizations)


def _of_partners(previous: Snapshot | None) -> frozenset[str]:
    """The partners whose own files were loaded: a district's source neither replaces nor adds to
    what they said.
    """
    before = [] if previous is None else previous.manifest["sources"]
    return frozenset[str]().union(
        *(one["organizations"] for one in before if one.get("of_partners"))
    )


def _is_partners(canonical: CanonicalTable) -> bool:
    return any(column.name == "organization_id" for column in canonical.columns)


def _replaced(previous: Snapshot | None, report: LoadReport) -> frozenset[str]:
    """The partners whose earlier programs and services make room: those of this load, and those
    that it brought before.

    So loading one partner's history leaves the others' alone, and a partner who is gone from a
    source is gone.
    """
    before = [] if previous is None else previous.manifest["sources"]
    named = [
        one.get("organizations", ())
        for one in before
        if source_key(one) == source_key(asdict(report))
    ]
    return frozenset(report.organizations).union(*named)


def _remaining_sources(
    previous: Snapshot | None, report: LoadReport, replaced: frozenset[str]
) -> list[dict[str, Any]]:
    """The reports of earlier loads of which something is still there."""
    before = [] if previous is None else previous.manifest["sources"]
    others = [one for one in before if source_key(one) != source_key(asdict(report))]
    return [
        one
        | {
            "organization_id": one.get("organization_id"),
            "organizations": sorted(set(one.get("organizations", ())) - replaced),
        }
        for one in others
        if one.get("organization_id") not in replaced
    ]


def _manifest_entry(report: LoadReport) -> dict[str, Any]:
    """What a manifest tells of one load: what depends on its own files alone, whatever was loaded
    before.
    """
    return {
        name: value
        for name, value in report.to_dict().items()
        if name not in ("rows", "changed", "snapshot_id")
    }


def _carried_over_rows(
    engine: duckdb.DuckDBPyConnection,
    canonical: CanonicalTable,
    connector: Connector,
    collected: StagingSink,
    previous: Snapshot | None,
) -> duckdb.DuckDBPyRelation | None:
    """The rows of the snapshot before that stay, but for those of students whom the district no
    longer has.
    """
    file = None if previous is None else previous.path / f"{canonical.name}.parquet"
    if file is None or not file.exists():
        return None
    rows = engine.read_parquet(str(file))
    if canonical.name in connector.tables:
        if not _is_partners(canonical):
            return None
        rows = rows.filter("organization_id not in (select organization_id from replaced)")
    known = _known(engine, canonical, collected)
    lost = rows.filter(f"not ({known})").aggregate("count(*)").fetchall()[0][0]
    if lost:
        collected.note(
            f"{lost:,} rows of {canonical.name} from an earlier load are of students not in"
            " this one"
        )
    return rows.filter(known)


_EVERYBODY = "true"


def _known(
    engine: duckdb.DuckDBPyConnection, canonical: CanonicalTable, collected: StagingSink
) -> str:
    """The condition that a row is of a student who is in the snapshot; true where no students are
    loaded at all.
    """
    students = collected.staging / "students.parquet"
    if not canonical.is_student or canonical.name == "students" or not students.exists():
        return _EVERYBODY
    engine.read_parquet(str(students)).create_view("known_students", replace=True)
    return "student_id in (select student_id from known_students)"


def _resolve_rows(
    engine: duckdb.DuckDBPyConnection,
    canonical: CanonicalTable,
    collected: StagingSink,
    carried: duckdb.DuckDBPyRelation | None,
) -> duckdb.DuckDBPyRelation:
    """Sort out unknown students, duplicates and conflicting keys of one table; the rows that are
    kept.

    Rows of unknown students go first: they must not take the place of a good row with the same key.
    """
    key = ", ".join(f'"{name}"' for name in canonical.key)
    rows = engine.read_parquet(str(collected.staging / f"raw-{canonical.name}-*.parquet"))
    known = _known(engine, canonical, collected)
    if known != _EVERYBODY:
        _reject(
            collected,
            canonical,
            rows.filter(f"not ({known})"),
            "student_id",
            "no student has this identifier in the students that were loaded",
        )
        rows = rows.filter(known)
    if _is_partners(canonical):
        theirs = "organization_id in (select organization_id from of_partners)"
        _reject(
            collected,
            canonical,
            rows.filter(theirs),
            "organization_id",
            "this organisation's programs and services come from its own files",
        )
        rows = rows.filter(f"not ({theirs})")
    if carried is not None and "organization_id" not in canonical.key:
        carried.project(f"row({key}) as key").create_view("of_others", replace=True)
        rows = rows.project(f"*, row({key}) as _key")
        taken = "_key in (select key from of_others)"
        _reject(
            collected,
            canonical,
            rows.filter(taken),
            canonical.key[0],
            "another organisation has a row with the same key (" + ", ".join(canonical.key) + ")",
        )
        rows = rows.filter(f"not ({taken})")
    window = f"partition by {key} order by _seq"
    whole = "row(" + ", ".join(f'"{column.name}"' for column in canonical.columns) + ")"
    rows.project(
        f"*, row_number() over ({window}) as _rank, "
        f"{whole} is not distinct from first_value({whole}) over ({window}) as _same"
    ).create("ranked")
    ranked = engine.table("ranked")
    if not ranked.filter("_rank > 1").limit(1).fetchall():
        return ranked
    _reject(
        collected,
        canonical,
        ranked.filter("_rank > 1 and not _same"),
        canonical.key[0],
        "another row has the same key (" + ", ".join(canonical.key) + ") and other values",
    )
    for file, count in (
        ranked.filter("_rank > 1 and _same and _counted").aggregate("_file, count(*)").fetchall()
    ):
        collected.count(file).duplicates += count
        collected.count(file).kept -= count
    return ranked.filter("_rank = 1")


def _reject(
    collected: StagingSink,
    canonical: CanonicalTable,
    rows: duckdb.DuckDBPyRelation,
    column: str,
    reason: str,
) -> None:
    names = [c.name for c in canonical.columns]
    quoted = ", ".join(f'"{name}"' for name in names)
    ordered = rows.project(f"_file, _line, _counted, _seq, {quoted}").order("_seq")
    for batch in ordered.to_arrow_reader(ROW_GROUP_SIZE):
        for row in batch.to_pylist():
            raw = json.dumps({name: row[name] for name in names}, default=str)
            bad = BadRow(row["_file"], row["_line"], column, reason, raw)
            if row["_counted"]:
                collected.count(bad.file).kept -= 1
                collected.quarantine(bad)
            else:
                collected.set_aside(bad)
