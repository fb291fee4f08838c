"""Changes since training: do students look as they did when a model learned, and did its
predictions come true?

For the district's auditors. Shares of many and no single student, so no look is written down.
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


@dataclass(frozen=True)
class DayChart:
    """A decision day and the bars of its families; `ticks` are places of the bounds in percent of
    the width.
    """

    day: DayDrift
    bars: tuple[CappedBar, ...]
    ticks: tuple[float, ...]


@router.get("/drift")
def drift_page(visit: AuditorVisit) -> Response:
    drift, damage = _newest(visit)
    days = [] if drift is None else [_drawn(one) for one in reversed(drift.days)]
    return visit.page(
        "drift.html",
        drift=drift,
        damage=damage,
        days=days,
        said=drift_words,
        changed=[] if drift is None else _changed(visit, drift),
        point=visit.point_by(drift.outcome_sha256 if drift else None),
    )


def _newest(visit: Visit) -> tuple[DriftReport | None, str]:
    """What was worked out last, or why it cannot be shown."""
    try:
        return newest_drift_report(visit.site.config.home), ""
    except DriftReportCorrupt as error:
        return None, str(error)


def _changed(visit: Visit, drift: DriftReport) -> list[str]:
    """Why the findings are out of date, in words; empty where they are not."""
    home, found = visit.site.config.home, []
    if drift.snapshot_id != visit.snapshot.id:
        found.append("newer records were loaded")
    try:
        watched = monitored_version(home)
        if (watched.version, watched.sha256) != (drift.version, drift.sha256):
            found.append(f"version {watched.version} is the one to look at now")
        if OutcomeDefinition.of(home).sha256 != drift.outcome_sha256:
            found.append("what counts as progress was changed")
    except ModelNotFound:
        found.append("the version is no longer registered")
    except OutcomeError:
        found.append("what counts as progress was changed")
    if _smallest_cell(home) != drift.smallest_cell:
        found.append("the smallest number that may be shown was changed")
    return found


def _smallest_cell(home: Path) -> int | None:
    """The district's own; None where its file cannot be read."""
    try:
        return SmallNumbers.from_home(home).smallest_cell
    except SmallNumbersError:
        return None


def _drawn(day: DayDrift) -> DayChart:
    bars, ticks = capped_bars([one.worst.index for one in day.families], BOUNDS)
    return DayChart(day, bars, ticks)
