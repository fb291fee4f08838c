"""What may be told of each program, as one file a snapshot: aggregates only, rounded, and no number
that is small.

`home/effects/<snapshot>.json` holds the answer with digests of everything that it was made of. A
file is never changed: where the costs are others, a new one takes its place and the old one stays
beside it. Numbers of students are rounded to ten and suppressed below the smallest cell
(`records.suppression.small_numbers`), as are amounts and dollars that would give such a number away
(`records.suppression.cell_suppression`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from features.catalog import catalog_hash
from records.decisions.program_costs import StatedCost
from records.suppression.cell_suppression import suppressed_parts
from records.suppression.rounding import round_count
from records.suppression.small_numbers import DEFAULT_SMALL_NUMBERS, SmallNumbers
from records.system.errors import UserError
from records.system.files import write_atomic
from training.effects.costs import Cost, session_costs
from training.effects.effects import GAIN, NO_ESTIMATE_REASONS, UNKNOWN, Effect
from training.effects.joint_verdicts import JointVerdict, joint_verdicts
from training.effects.program_effects import ProgramEffect
from training.episodes.outcome import OutcomeDefinition
from training.estimation.policy_value import Estimate

FORMAT = "handrail-effects-1"
NO_SUPPORT, NOBODY_BEGAN = "no_support", "nobody_began"
REASONS: Mapping[str, str] = {
    **NO_ESTIMATE_REASONS,
    NO_SUPPORT: "the kind of support that it gives is not on record",
    NOBODY_BEGAN: (
        "nobody whose progress is known began it soon after a day on which students are compared"
    ),
}


class EffectFileCorrupt(UserError, ValueError):
    """A file of figures that is not as it was written; the message names it."""


@dataclass(frozen=True)
class EffectInputs:
    """What figures are made of. Two sets of figures with the same inputs are the same.

    `smallest_cell` is written only where it is not ten, as a file has it that holds none.
    """

    snapshot_id: str
    outcome_sha256: str
    costs_sha256: str
    features_sha256: str
    smallest_cell: int = DEFAULT_SMALL_NUMBERS.smallest_cell

    @property
    def sha256(self) -> str:
        return _digest(self.to_dict())

    @property
    def small_numbers(self) -> SmallNumbers:
        """The rule that the figures obey."""
        return SmallNumbers(self.smallest_cell)

    def to_dict(self) -> dict[str, Any]:
        """The fields as the file has them."""
        content = asdict(self)
        if self.smallest_cell == DEFAULT_SMALL_NUMBERS.smallest_cell:
            del content["smallest_cell"]
        return content

    def changed(self, now: EffectInputs) -> tuple[str, ...]:
        """Which of these are others now: names of fields."""
        return tuple(name for name, value in asdict(self).items() if value != getattr(now, name))


@dataclass(frozen=True)
class EffectFigures:
    """One comparison, in progress points to two places.

    Attributes:
        served, compared, left_out: students served and not served, and records of students served
            that nobody is alike to: rounded to ten, None below the smallest cell or where another
            number would give one away.
        spread: standard deviation among those not served.
    """

    served: int | None
    compared: int | None
    left_out: int | None
    naive: Estimate | None
    estimate: Estimate | None
    spread: float | None
    cannot_tell: str


@dataclass(frozen=True)
class DosageBand:
    """Those served who received more than `above` sessions, and no more than `up_to` where that is
    not None.
    """

    name: str
    above: float
    up_to: float | None
    figures: EffectFigures


@dataclass(frozen=True)
class PublishedEffect:
    """One program, as it may be told. `verdict` holds for all programs at once; `p_adjusted` is
    what it rests on.
    """

    program_id: str
    organization_id: str
    name: str
    support: str
    figures: EffectFigures
    clustered_by: str
    clusters: int
    verdict: str
    p_adjusted: float | None
    amounts: tuple[DosageBand, ...]
    cost: Cost | None
    cost_per_student: int | None
    cost_per_point: Estimate | None


@dataclass(frozen=True)
class EffectReport:
    """Every program on record, by name, with when it was worked out and of what."""

    at: datetime
    inputs: EffectInputs
    programs: tuple[PublishedEffect, ...]

    @property
    def family(self) -> int:
        """How many programs have an estimate: the comparisons that verdicts are corrected for."""
        return sum(one.figures.estimate is not None for one in self.programs)

    def to_json(self) -> str:
        """Canonical JSON with its own digest."""
        content = {
            "format": FORMAT,
            "at": self.at.isoformat(),
            "inputs": self.inputs.to_dict(),
            "programs": [asdict(one) for one in self.programs],
        }
        return json.dumps(
            content | {"sha256": _digest(content)}, sort_keys=True, indent=1, allow_nan=False
        )

    @classmethod
    def from_json(cls, text: str) -> EffectReport:
        """The report that `to_json` wrote.

        Raises:
            ValueError: it is not as it was written.
        """
        try:
            content = json.loads(text)
            if content.pop("sha256") != _digest(content) or content["format"] != FORMAT:
                raise ValueError("its digest or its format is another")
            programs = tuple(_told_from(one) for one in content["programs"])
            return cls(
                datetime.fromisoformat(content["at"]), EffectInputs(**content["inputs"]), programs
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it has no or another {error}") from None


def current_costs(programs: pd.DataFrame, stated: Mapping[str, StatedCost]) -> dict[str, Cost]:
    """What programs on record cost: as the district states it, else as the partner does."""
    costs = session_costs(programs)
    for program in programs["program_id"]:
        if program in stated:
            costs[program] = Cost(stated[program].price.dollars, stated[program].price.per)
    return costs


def current_inputs(home: Path, snapshot_id: str, costs: Mapping[str, Cost]) -> EffectInputs:
    """What figures would be made of now.

    Raises:
        OutcomeError: the district's own outcome cannot be read.
        SmallNumbersError: nor can its own rule of small numbers.
    """
    return EffectInputs(
        snapshot_id,
        OutcomeDefinition.of(home).sha256,
        _digest({key: list(cost) for key, cost in costs.items()}),
        catalog_hash(),
        SmallNumbers.from_home(home).smallest_cell,
    )


def publish_effects(
    found: Sequence[ProgramEffect],
    programs: pd.DataFrame,
    costs: Mapping[str, Cost],
    inputs: EffectInputs,
    at: datetime,
) -> EffectReport:
    """What may be told of exact figures, one entry for each program on record.

    Args:
        found: as `program_effects` gives it.
        programs: the table of that name.
        inputs: what the figures are made of, with the smallest cell that they obey.
    """
    small_numbers = inputs.small_numbers
    by_program = {
        one.program_id: (one, joint)
        for one, joint in zip(found, joint_verdicts(found), strict=True)
    }
    entries = [
        (
            _program(*by_program[key], costs.get(key), small_numbers)
            if key in by_program
            else _untold(row, costs.get(key))
        )
        for row in programs.to_dict("records")
        for key in [str(row["program_id"])]
    ]
    return EffectReport(
        at, inputs, tuple(sorted(entries, key=lambda one: (one.name.casefold(), one.program_id)))
    )


def write_effects(report: EffectReport, home: Path) -> Path:
    """Write the file, whole or not at all. One of the same snapshot with other inputs is kept
    beside it.
    """
    file = _file(home, report.inputs.snapshot_id)
    try:
        before = read_effects(home, report.inputs.snapshot_id)
    except EffectFileCorrupt:
        before = None
    if before == report:
        return file
    if before is not None:
        write_atomic(
            file.with_name(f"{file.stem}.{before.inputs.sha256[:12]}.json"), before.to_json()
        )
    return write_atomic(file, report.to_json())


def read_effects(home: Path, snapshot_id: str) -> EffectReport | None:
    """The figures of a snapshot; None where there are none.

    Raises:
        EffectFileCorrupt: there is a file, and it is not as it was written.
    """
    file = _file(home, snapshot_id)
    try:
        return EffectReport.from_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise EffectFileCorrupt(
            f"{file} is not as it was written: {error}. Take it away and run `handrail effects`"
        ) from None


def newest_effects(home: Path, snapshot_id: str) -> EffectReport | None:
    """The figures of this snapshot, else the newest of another; None where there are none at all.

    Raises:
        EffectFileCorrupt: a file is not as it was written.
    """
    own = read_effects(home, snapshot_id)
    if own is not None:
        return own
    others = [read_effects(home, file.stem) for file in (home / "effects").glob("*.json")]
    return max((one for one in others if one is not None), key=lambda one: one.at, default=None)


def _program(
    found: ProgramEffect, joint: JointVerdict, cost: Cost | None, small_numbers: SmallNumbers
) -> PublishedEffect:
    effect = found.effect
    few = min(effect.served, found.students_a_year) < small_numbers.smallest_cell
    per_student = None if few or found.cost_per_student is None else round(found.cost_per_student)
    per_point = found.cost_per_point if joint.verdict == GAIN and not few else None
    return PublishedEffect(
        found.program_id,
        found.organization_id,
        found.name,
        found.support,
        _figures(effect, small_numbers.published_count(effect.served), small_numbers),
        effect.clustered_by,
        effect.clusters,
        joint.verdict,
        None if effect.estimate is None else round(joint.p_value, 3),
        _amounts(found, small_numbers),
        cost,
        per_student,
        _rounded(per_point, 0),
    )


def _untold(row: Mapping[Any, Any], cost: Cost | None) -> PublishedEffect:
    """A program that served nobody who is compared."""
    support = "" if pd.isna(row["support"]) else str(row["support"])
    name = str(row["program_id"] if pd.isna(row["name"]) else row["name"])
    figures = EffectFigures(
        None, None, None, None, None, None, NOBODY_BEGAN if support else NO_SUPPORT
    )
    return PublishedEffect(
        str(row["program_id"]),
        str(row["organization_id"]),
        name,
        support,
        figures,
        "",
        0,
        UNKNOWN,
        None,
        (),
        cost,
        None,
        None,
    )


def _figures(found: Effect, served: int | None, small_numbers: SmallNumbers) -> EffectFigures:
    """Of one comparison; `served` is what may be told of how many they are."""
    spread = round(found.spread, 2) if found.estimate is not None else None
    return EffectFigures(
        served,
        small_numbers.published_count(found.compared),
        small_numbers.published_count(found.served_left_out),
        _rounded(found.naive, 2),
        _rounded(found.estimate, 2),
        spread,
        found.cannot_tell,
    )


def _amounts(found: ProgramEffect, small_numbers: SmallNumbers) -> tuple[DosageBand, ...]:
    """By amount received, where there is an estimate at all: with fewer students a limit would be
    one student's.
    """
    if found.effect.estimate is None:
        return ()
    served_by_band = {band.name: band.effect.served for band in found.dosage}
    hidden = suppressed_parts(served_by_band, small_numbers.smallest_cell)
    told, above = [], 0.0
    for band in found.dosage:
        served = None if band.name in hidden else round_count(band.effect.served)
        last = band is found.dosage[-1]
        figures = _figures(band.effect, served, small_numbers)
        told.append(DosageBand(band.name, above, None if last else band.most, figures))
        above = band.most
    return tuple(told)


def _rounded(found: Estimate | None, places: int) -> Estimate | None:
    return None if found is None else Estimate(*(round(value, places) for value in astuple(found)))


def _told_from(content: dict[str, Any]) -> PublishedEffect:
    amounts = tuple(
        DosageBand(**one | {"figures": _figures_from(one["figures"])}) for one in content["amounts"]
    )
    cost = None if content["cost"] is None else Cost(*content["cost"])
    return PublishedEffect(
        **content
        | {
            "figures": _figures_from(content["figures"]),
            "amounts": amounts,
            "cost": cost,
            "cost_per_point": _estimate_from(content["cost_per_point"]),
        }
    )


def _figures_from(content: dict[str, Any]) -> EffectFigures:
    return EffectFigures(
        **content | {name: _estimate_from(content[name]) for name in ("naive", "estimate")}
    )


def _estimate_from(content: dict[str, float] | None) -> Estimate | None:
    return None if content is None else Estimate(**content)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=list).encode()).hexdigest()


def _file(home: Path, snapshot_id: str) -> Path:
    return home / "effects" / f"{snapshot_id}.json"
