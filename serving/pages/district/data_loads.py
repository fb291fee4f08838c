"""How good the records are: when each source was loaded, what happened to each row, what is odd.

Counts and file names, never a student, except in the file of quarantined rows, which the district's
administrators alone can download.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Form
from starlette.responses import RedirectResponse, Response

from records.canonical.quarantine import BadRow
from records.canonical.schema import Category
from records.checks.confirmations import (
    ConfirmationError,
    confirm_figure,
    confirmed_figures,
    take_back_confirmation,
)
from records.checks.doubts import measure_words, value_text
from records.checks.measures import FigureRow, figure_rows, range_sources
from records.checks.oddities import oddities
from records.checks.plausible_ranges import plausible_ranges
from records.checks.quality import (
    AttendanceGap,
    QualityFinding,
    SilentSchool,
    attendance_gaps,
    quality_findings,
    silent_schools,
)
from records.checks.school_figures import figures_before, school_figures
from records.connectors.corrections import quarantine_to_csv, students_named_in
from records.loading.load_history import STALE_AFTER, Load, last_loads
from records.loading.profile_versions import profile_name, profile_versions
from records.snapshots.waiting_rows import WAITS_FOR, table_words, waiting_words
from records.staff.accounts import staff_names
from records.suppression.small_numbers import SmallNumbers
from serving.pages.forms import Code, CsrfForm, LongText
from serving.site.dependencies import DataVisit, DistrictAdminVisit
from serving.site.visit import Visit

router = APIRouter()


@dataclass(frozen=True)
class Feed:
    """A source of records, when it was last loaded, and what happened to its files.

    Attributes:
        partner: the name of the one partner whose files they are; empty where there is no one.
        last: None where no load is on record.
        is_stale: whether the last load is too long ago.
        report: the source's part of the snapshot's manifest.
    """

    name: str
    partner: str
    last: Load | None
    is_stale: bool
    report: dict[str, Any]

    @property
    def totals(self) -> dict[str, int]:
        """Rows of all its files, by what happened to them."""
        names = ("read", "kept", "quarantined", "duplicates", "ignored")
        return {name: sum(file[name] for file in self.report["files"]) for name in names}

    @property
    def column_files(self) -> set[str]:
        """Missing files without which single columns of a table have no newer values."""
        columns = self.report.get("columns_not_brought", {})
        return {file for files in columns.values() for file in files.values()}

    def stays(self, file: str, rows: Mapping[str, int]) -> list[str]:
        """Tables that stay as an earlier load brought them, because this file is missing.

        Args:
            rows: of each table of the snapshot.
        """
        return [
            table_words(name)
            for name, files in self.report.get("not_brought", {}).items()
            if file in files and rows.get(name)
        ]


@dataclass(frozen=True)
class QuarantineCount:
    """Rows of one file that were quarantined for one reason."""

    file: str
    reason: str
    rows: int


@dataclass(frozen=True)
class SchoolCheck:
    """The figures of one school, each as text to read."""

    name: str
    rows: list[FigureRow]

    @property
    def doubted(self) -> int:
        """How many figures are beyond plausible."""
        return sum(row.is_doubted for row in self.rows)


@dataclass(frozen=True)
class SchoolChecks:
    """What to look at before trusting a load.

    Attributes:
        oddities: sentences, the worst first.
        schools: by name.
        before: the day of the last load whose figures stand beside; None where there is none.
        sources: a sentence for each range that is plausible.
    """

    oddities: list[str]
    schools: list[SchoolCheck]
    before: date | None
    sources: list[str]


class ConfirmForm(CsrfForm):
    school: Code
    measure: Code
    reason: LongText = ""


class TakeBackForm(CsrfForm):
    confirmation: int


@router.get("/data")
def data_page(visit: DataVisit) -> Response:
    return _page(visit)


@router.post("/data/confirm")
def confirm(visit: DistrictAdminVisit, form: Annotated[ConfirmForm, Form()]) -> Response:
    """Say that an unusual figure is right; with what is wrong with the reason, the page again."""
    visit.check_csrf(form.csrf)
    try:
        doubt = visit.doubts.find(form.school, form.measure)
        confirm_figure(
            visit.database, visit.viewer, doubt, visit.doubts.school_year, form.reason, visit.now
        )
    except ConfirmationError as error:
        return _page(visit, problem=str(error), typed=form)
    return RedirectResponse("/data#schools", 303)


@router.post("/data/confirm/take-back")
def take_back(visit: DistrictAdminVisit, form: Annotated[TakeBackForm, Form()]) -> Response:
    """Take back that a figure is right; the page again where somebody did so before."""
    visit.check_csrf(form.csrf)
    try:
        take_back_confirmation(visit.database, visit.viewer, form.confirmation, visit.now)
    except ConfirmationError as error:
        return _page(visit, problem=str(error))
    return RedirectResponse("/data#schools", 303)


def _page(visit: Visit, problem: str = "", typed: ConfirmForm | None = None) -> Response:
    manifest = visit.snapshot.manifest
    loads = last_loads(visit.site.config.home)
    findings, gaps, silent = quality(visit)
    quarantined = visit.snapshot.set_aside()
    return visit.page(
        "data.html",
        status=422 if problem else 200,
        problem=problem,
        typed=typed,
        doubts=visit.doubts,
        confirmations=confirmed_figures(visit.database),
        value_text=value_text,
        measure_words=measure_words,
        names_of_schools={
            row["school_id"]: row["name"] or row["school_id"]
            for row in visit.records(()).frame("schools").to_dict("records")
        },
        staff=staff_names(visit.database),
        feeds=[feed(visit, source, loads) for source in manifest["sources"]],
        profiles=profile_versions(visit.snapshot, visit.site.config.home),
        profile_name=profile_name,
        rows=manifest["rows"],
        waiting=waiting_words(manifest),
        waits_for_days=WAITS_FOR.days,
        snapshot=visit.snapshot.id,
        findings=findings,
        attendance_gaps=gaps,
        silent_schools=silent,
        checks=school_checks(visit),
        smallest_cell=SmallNumbers.from_home(visit.site.config.home).in_words,
        quarantined=quarantine_counts(quarantined),
        can_download=visit.is_district_admin and _within_limits(visit, quarantined),
    )


@router.get("/data/quarantine.csv")
def quarantine_file(visit: DistrictAdminVisit) -> Response:
    """The quarantined rows, to be corrected. The students they name are logged as disclosed."""
    rows = visit.snapshot.set_aside()
    students = students_named_in(rows, visit.scope.students)
    visit.disclosures.record(students, list(Category))
    disposition = f'attachment; filename="quarantine-{visit.snapshot.id}.csv"'
    return Response(
        quarantine_to_csv(rows, visit.disclosures.terms(students)),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": disposition},
    )


def feed(
    visit: Visit, report: dict[str, Any], loads: Mapping[tuple[str, str | None], Load]
) -> Feed:
    """One source of the manifest, with its last load."""
    source, organization = report["source"], report.get("organization_id")
    partner = visit.organizations.get(organization or "")
    last = loads.get((source, organization))
    return Feed(
        name=source,
        partner=partner.name if partner else organization or "",
        last=last,
        is_stale=last is not None and visit.now - last.at > STALE_AFTER,
        report=report,
    )


Oddities = tuple[list[QualityFinding], list[AttendanceGap], list[SilentSchool]]


def quality(visit: Visit) -> Oddities:
    """What looks odd in this snapshot, computed once a day."""
    result: tuple[list[QualityFinding], list[AttendanceGap], list[SilentSchool]] = (
        visit.site.result_cache.get(
            ("quality", visit.snapshot.id, str(visit.today)),
            lambda: (
                quality_findings(visit.snapshot, visit.today),
                attendance_gaps(visit.snapshot, visit.today),
                silent_schools(visit.snapshot, visit.today),
            ),
        )
    )
    return result


def school_checks(visit: Visit) -> SchoolChecks:
    """Each school's figures and what is odd about them, computed once a day and load."""
    home = visit.site.config.home
    rule, ranges = SmallNumbers.from_home(home), plausible_ranges(home)
    before = figures_before(home, visit.snapshot, rule)

    def compute() -> SchoolChecks:
        figures = school_figures(visit.snapshot, visit.today, rule)
        silent = silent_schools(visit.snapshot, visit.today)
        return SchoolChecks(
            oddities=[one.words for one in oddities(figures, before, ranges, silent)],
            schools=[
                SchoolCheck(school.name, figure_rows(school_id, figures, before, ranges))
                for school_id, school in figures.schools.items()
            ],
            before=before.day if before is not None else None,
            sources=range_sources(ranges),
        )

    result: SchoolChecks = visit.site.result_cache.get(
        ("school checks", visit.snapshot.id, str(visit.today), repr((before, rule, ranges))),
        compute,
    )
    return result


def quarantine_counts(rows: Iterable[BadRow]) -> list[QuarantineCount]:
    """How many rows were quarantined, by file and reason, the most first. What a reason quotes from
    a row is left out.
    """
    counts = Counter((row.file, _without_quotes(row.reason)) for row in rows)
    return [
        QuarantineCount(file, reason, number) for (file, reason), number in counts.most_common()
    ]


def _within_limits(visit: Visit, rows: Sequence[BadRow]) -> bool:
    """Whether the rows name no more students than one person may be shown at once."""
    students = students_named_in(rows, visit.scope.students)
    return len(students) <= visit.site.config.limits.per_response


def _without_quotes(reason: str) -> str:
    """A reason without what it quotes from a row, so that equal faults are counted together and
    nobody is named.
    """
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d{4}-\d{2}-\d{2}", "…", reason)
