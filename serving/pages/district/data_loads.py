"""How good the records are: when each source came, what became of every row, what looks odd, and
what was set aside.

Counts and file names, never a student; but for the file of rows that were set aside, which the
district alone can have.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter
from starlette.responses import Response

from records.canonical.quarantine import BadRow
from records.canonical.schema import Category
from records.connectors.corrections import quarantine_to_csv, students_named_in
from records.loading.load_history import STALE_AFTER, Load, last_loads
from records.loading.quality import AttendanceGap, QualityFinding, attendance_gaps, quality_findings
from records.people.viewer import Role
from serving.site.dependencies import DistrictAdminVisit, require_role
from serving.site.visit import Visit

router = APIRouter()


@dataclass(frozen=True)
class Feed:
    """A source, when it last came, and what was made of its files. `last` is None where no load was
    written down.

    `partner` is the name of the one partner whose files they are, empty where there is no single
    one.
    """

    name: str
    partner: str
    last: Load | None
    old: bool
    report: dict[str, Any]

    @property
    def totals(self) -> dict[str, int]:
        names = ("read", "kept", "quarantined", "duplicates", "ignored")
        return {name: sum(file[name] for file in self.report["files"]) for name in names}


@dataclass(frozen=True)
class QuarantineCount:
    """Rows of one file that were set aside for one reason."""

    file: str
    reason: str
    rows: int


@router.get("/data")
def data_page(
    visit: Annotated[Visit, require_role(Role.DISTRICT_ADMIN, Role.DATA_SCIENTIST)],
) -> Response:
    manifest = visit.snapshot.manifest
    last = last_loads(visit.site.config.home)
    feeds = [feed(visit, source, last) for source in manifest["sources"]]
    odd, quiet = quality_lines(visit)
    officer, rows = visit.viewer.role is Role.DISTRICT_ADMIN, visit.snapshot.set_aside()
    fits = (
        officer
        and len(students_named_in(rows, visit.scope.students)) <= visit.site.config.limits.at_once
    )
    return visit.page(
        "data.html",
        feeds=feeds,
        rows=manifest["rows"],
        snapshot=visit.snapshot.id,
        odd=odd,
        quiet=quiet,
        aside=quarantine_counts(rows),
        officer=officer,
        fits=fits,
    )


@router.get("/data/quarantine.csv")
def quarantine_file(visit: DistrictAdminVisit) -> Response:
    """The rows that were set aside, to be put right. Whoever they name is written down as seen."""
    rows = visit.snapshot.set_aside()
    seen = students_named_in(rows, visit.scope.students)
    visit.disclosures.record(seen, list(Category))
    named = f'attachment; filename="quarantine-{visit.snapshot.id}.csv"'
    return Response(
        quarantine_to_csv(rows, visit.disclosures.stamp(seen)),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": named},
    )


def feed(
    visit: Visit, report: dict[str, Any], loads: Mapping[tuple[str, str | None], Load]
) -> Feed:
    organization = report.get("organization_id")
    partner = visit.organizations.get(organization or "")
    last = loads.get((report["source"], organization))
    old = last is not None and visit.now - last.at > STALE_AFTER
    return Feed(
        report["source"], partner.name if partner else organization or "", last, old, report
    )


def quality_lines(visit: Visit) -> tuple[list[QualityFinding], list[AttendanceGap]]:
    """What looks odd in this snapshot, worked out once a day."""
    key = ("quality", visit.snapshot.id, str(visit.today))
    found: tuple[list[QualityFinding], list[AttendanceGap]] = visit.site.kept.get(
        key,
        lambda: (
            quality_findings(visit.snapshot, visit.today),
            attendance_gaps(visit.snapshot, visit.today),
        ),
    )
    return found


def quarantine_counts(rows: Iterable[BadRow]) -> list[QuarantineCount]:
    """How many rows were set aside, by file and reason, the most first. Values in a reason are left
    out.
    """
    found = Counter((row.file, _general(row.reason)) for row in rows)
    return [
        QuarantineCount(file, reason, rows)
        for (file, reason), rows in sorted(found.items(), key=lambda one: -one[1])
    ]


def _general(reason: str) -> str:
    """A reason without what it quotes from a row, so that equal faults are counted together and
    name nobody.
    """
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d{4}-\d{2}-\d{2}", "…", reason)
