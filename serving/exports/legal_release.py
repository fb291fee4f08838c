"""What answers a legal demand, as it is handed over: a ZIP archive of spreadsheets about one
student.

It is made only for a demand that two people have released, from a scope narrowed to that student
and to the categories of the demand. The disclosure log and the register have it before it leaves.
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
from records.law.legal_demands import JUDICIAL_BASIS, approved_demand, record_release
from records.law.legal_documents import LegalDemandError
from records.people.viewer import DISTRICT, Grant, NotInScope, Scope
from records.snapshots.snapshot import Snapshot
from serving.exports.csv_export import csv_bytes

_ABOUT = "Each file is one part of the record. A part that holds nothing has no file."


@dataclass(frozen=True)
class ReleaseArchive:
    """What is handed over: a ZIP archive. `sha256` is over its content."""

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
    """Make what is handed over: one student, the categories of the demand, nothing else. Each
    taking is written down.

    The disclosure log has it, and the register with its digest, before this returns.

    Args:
        scope: that of the district administrator who takes it.
        reason: to whom it is handed, and how.
        terms: the sentence that goes with every file.
        route: where it is taken, for the log.
        limits: what the site holds whoever takes it to; the release is one student of them.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        NoSuchDemand: there is none of this number.
        LegalDemandError: it is not approved, the approval has ended, no reason is given, or the
            record is no longer here.
        DisclosureLogUnavailable: the log could not be written.
        TooManyStudents: whoever takes it was shown as many students today as one person may be.
    """
    if not reason.strip():
        raise LegalDemandError("Please say to whom it is handed over, and how.")
    found = approved_demand(database, scope.viewer, number, now)
    grant = Grant(
        f"demand-{number}",
        "",
        JUDICIAL_BASIS,
        "Answering a legal demand",
        DISTRICT,
        found.paper.categories,
        (),
    )
    try:
        narrowed = scope.narrowed(found.student_id, grant)
    except NotInScope:
        raise LegalDemandError("This student's record is no longer here.") from None
    content = _archive(ScopedRecords(snapshot, narrowed), terms)
    made = ReleaseArchive(
        f"legal-demand-{number}.zip", content, hashlib.sha256(content).hexdigest()
    )
    record_disclosures(
        database, narrowed, [found.student_id], found.paper.categories, route, now, limits
    )
    record_release(database, scope.viewer, number, reason, made.sha256, now)
    return made


def _archive(records: ScopedRecords, terms: str) -> bytes:
    (student,) = records.students
    released = records.scope.categories(student)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for table in TABLES.values():
            columns = _columns(table, released)
            rows = (
                records.table(table.name).order_by(list(table.key)).to_pyarrow().to_pylist()
                if columns
                else []
            )
            if rows:
                cells = (
                    ["" if row[name] is None else str(row[name]) for name in columns]
                    for row in rows
                )
                _write(archive, f"{table.name}.csv", csv_bytes(terms, columns, cells))
        _write(archive, "READ-ME.txt", f"{terms}\n\n{_ABOUT}\n".encode())
    return buffer.getvalue()


def _columns(table: CanonicalTable, released: frozenset[Category]) -> list[str]:
    """The columns to hand over: those of released categories, and all of a partner's services or
    none.
    """
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
