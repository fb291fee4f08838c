"""Changes since training: has the student population changed, and did the predictions hold?

For the district's auditors. It shows shares of many and no single student, so nothing is logged.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import Response

from records.suppression.small_numbers import SmallNumbers, SmallNumbersError
from serving.rendering.charts import CappedBar, capped_bars
from serving.site.dependencies import AuditorVisit
from serving.site.visit import Visit
from serving.wording import drift_words
from training.episodes.outcome import OutcomeDefinition, OutcomeError
from training.evaluation.drift import MAJOR_PSI, MODERATE_PSI, DayDrift
from training.monitoring.drift_report import (
    DriftReport,
    DriftReportCorrupt,
    monitored_version,
    newest_drift_report,
)
from training.registry.registry import ModelNotFound

router = APIRouter()
BOUNDS = (MODERATE_PSI, MAJOR_PSI)
OUTCOME_CHANGED = "the definition of progress was changed"


@dataclass(frozen=True)
class DayChart:
    """A decision day and a bar for each of its feature families. `ticks`: where the bounds are, in
    percent of the width.
    """

    day: DayDrift
    bars: tuple[CappedBar, ...]
    ticks: tuple[float, ...]


@router.get("/drift")
def drift_page(visit: AuditorVisit) -> Response:
    drift, damage = _newest_report(visit)
    return visit.page(
        "drift.html",
        drift=drift,
        damage=damage,
        charts=[_day_chart(day) for day in reversed(drift.days)] if drift else [],
        drift_words=drift_words,
        outdated_reasons=_outdated_reasons(visit, drift) if drift else [],
        progress_point=visit.progress_point_text_for(drift.outcome_sha256 if drift else None),
    )


def _newest_report(visit: Visit) -> tuple[DriftReport | None, str]:
    """The newest drift report, or why it cannot be shown."""
    try:
        return newest_drift_report(visit.site.config.home), ""
    except DriftReportCorrupt as error:
        return None, str(error)


def _outdated_reasons(visit: Visit, drift: DriftReport) -> list[str]:
    """Why the findings are out of date, in words; empty where they are not."""
    home, reasons = visit.site.config.home, []
    if drift.snapshot_id != visit.snapshot.id:
        reasons.append("newer records were loaded")
    try:
        monitored = monitored_version(home)
        if (monitored.version, monitored.sha256) != (drift.version, drift.sha256):
            reasons.append(f"version {monitored.version} is monitored now")
        if OutcomeDefinition.of(home).sha256 != drift.outcome_sha256:
            reasons.append(OUTCOME_CHANGED)
    except ModelNotFound:
        reasons.append("the version is no longer registered")
    except OutcomeError:
        reasons.append(OUTCOME_CHANGED)
    if _smallest_cell(home) != drift.smallest_cell:
        reasons.append("the smallest number that may be shown was changed")
    return reasons


def _smallest_cell(home: Path) -> int | None:
    """The district's own; None where its file cannot be read."""
    try:
        return SmallNumbers.from_home(home).smallest_cell
    except SmallNumbersError:
        return None


def _day_chart(day: DayDrift) -> DayChart:
    bars, ticks = capped_bars([family.worst.index for family in day.families], BOUNDS)
    return DayChart(day, bars, ticks)
