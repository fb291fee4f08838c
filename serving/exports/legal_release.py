"""The archive that answers a legal demand: CSV files about one student in a ZIP file.

It is made only for a demand whose release two people have approved, from a scope narrowed to that
student and to the categories of the demand. The disclosure log and the register of demands have it
before it leaves.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from datetime import datetime

from records.access.scoped_records import ScopedRecords
from records.canonical.schema import TABLES, CanonicalTable, Category
from records.database.engine import Database
from records.disclosure_log.disclosures import record_disclosures
from records.disclosure_log.limits import DisclosureLimits
from records.legal_demands.legal_demands import JUDICIAL_BASIS, approved_demand, record_release
from records.legal_demands.legal_documents import LegalDemandError
from records.snapshots.snapshot import Snapshot
from records.staff.viewer import DISTRICT, Grant, NotInScope, Scope
from serving.exports.csv_export import csv_bytes

_ABOUT = "Each file is one part of the record. A part that holds nothing has no file."


@dataclass(frozen=True)
class ReleaseArchive:
    """The ZIP archive to hand over. `sha256` is over its content."""

    name: str
    content: bytes
    sha256: str


def create_release(
    database: Database,
    snapshot: Snapshot,
    scope: Scope,
    number: int,
    *,
    reason: str,
    terms: str,
    route: str,
    now: datetime,
    limits: DisclosureLimits | None = None,
) -> ReleaseArchive:
    """Make the archive: one student, the categories of the demand, nothing else.

    Each download is logged: the disclosure log has it, and the register of demands with its digest,
    before this returns.

    Args:
        scope: that of the district administrator who downloads it.
        reason: who receives the records, and how.
        terms: the sentence that goes with every file.
        route: where it is downloaded, for the log.
        limits: how many students one person may see; the release is one of them.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        NoSuchDemand: there is none of this number.
        LegalDemandError: it is not approved, the approval has expired, no reason is given, or the
            record no longer exists.
        DisclosureLogUnavailable: the log could not be written.
        TooManyStudents: this person has seen as many students today as one person may.
    """
    if not reason.strip():
        raise LegalDemandError("State who receives the records and how.")
    demand = approved_demand(database, scope.viewer, number, now)
    student, categories = demand.student_id, demand.paper.categories
    grant = Grant(
        f"demand-{number}",
        "",
        JUDICIAL_BASIS,
        "Answering a legal demand",
        DISTRICT,
        categories,
        (),
    )
    try:
        narrowed = scope.restricted_to(student, grant)
    except NotInScope:
        raise LegalDemandError("This student's record no longer exists.") from None
    content = _archive(ScopedRecords(snapshot, narrowed), terms)
    sha256 = hashlib.sha256(content).hexdigest()
    record_disclosures(database, narrowed, [student], categories, route, now, limits)
    record_release(database, scope.viewer, number, reason, sha256, now)
    return ReleaseArchive(f"legal-demand-{number}.zip", content, sha256)


def _archive(records: ScopedRecords, terms: str) -> bytes:
    (student,) = records.students
    released = records.scope.categories(student)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for table in TABLES.values():
            columns = _released_columns(table, released)
            if not columns:
                continue
            in_order = records.table(table.name).order_by(list(table.key))
            rows = in_order.to_pyarrow().to_pylist()
            cells = [
                ["" if row[name] is None else str(row[name]) for name in columns] for row in rows
            ]
            if cells:
                _write(archive, f"{table.name}.csv", csv_bytes(terms, columns, cells))
        _write(archive, "READ-ME.txt", f"{terms}\n\n{_ABOUT}\n".encode())
    return buffer.getvalue()


def _released_columns(table: CanonicalTable, released: frozenset[Category]) -> list[str]:
    """The columns of released categories; of partners' services, all columns or none."""
    if not table.is_student:
        return []
    names = [column.name for column in table.columns]
    if table.is_service:
        return names if Category.SERVICES_OTHER in released else []
    facts = {
        column.name
        for column in table.columns
        if column.name != "student_id" and column.category in released
    }
    return [name for name in names if name == "student_id" or name in facts] if facts else []


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
