"""The published effects of programs: rounded aggregates, one file a snapshot.

`home/effects/<snapshot>.json` holds them with digests of everything they were made of. A file is
never changed: with other costs, a new one takes its place and the old one is kept under another
name. Numbers of students are rounded to ten and suppressed below the smallest cell, as are
amounts and dollars that would reveal such a number (`records.suppression.cell_suppression`).
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
from records.canonical.columns import Programs
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
    """An effect file that is damaged; the message names it."""


@dataclass(frozen=True)
class EffectInputs:
    """What figures are made of: equal inputs give equal figures.

    `smallest_cell` is written only where it is not ten: a file without it was written under ten.
    """

    snapshot_id: str
    outcome_sha256: str
    costs_sha256: str
    features_sha256: str
    smallest_cell: int = DEFAULT_SMALL_NUMBERS.smallest_cell

    @property
    def sha256(self) -> str:
        """A digest of all inputs."""
        return _digest(self.to_dict())

    @property
    def small_numbers(self) -> SmallNumbers:
        """The rule that the figures obey."""
        return SmallNumbers(self.smallest_cell)

    def to_dict(self) -> dict[str, Any]:
        """The inputs as the file holds them."""
        content = asdict(self)
        if self.smallest_cell == DEFAULT_SMALL_NUMBERS.smallest_cell:
            del content["smallest_cell"]
        return content

    def changed(self, now: EffectInputs) -> tuple[str, ...]:
        """The names of the inputs that are different now."""
        return tuple(name for name, value in asdict(self).items() if value != getattr(now, name))


@dataclass(frozen=True)
class EffectFigures:
    """One comparison, in progress points to two places.

    Attributes:
        served, compared, left_out: students served and not served, and records of students served
            that have no comparable peer: rounded to ten, None below the smallest cell or where
            another number would reveal one.
        spread: standard deviation of the outcome among those not served.
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
    """Those served who received more than `above` sessions and at most `up_to` (None: no limit)."""

    name: str
    above: float
    up_to: float | None
    figures: EffectFigures


@dataclass(frozen=True)
class PublishedEffect:
    """One program as published; `verdict` holds for all programs at once, by `p_adjusted`."""

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
    """Every program on record, by name, with the time and the inputs of the figures."""

    at: datetime
    inputs: EffectInputs
    programs: tuple[PublishedEffect, ...]

    @property
    def family(self) -> int:
        """How many programs have an estimate: the comparisons that verdicts are corrected for."""
        return sum(program.figures.estimate is not None for program in self.programs)

    def to_json(self) -> str:
        """Canonical JSON with its own digest."""
        content = {
            "format": FORMAT,
            "at": self.at.isoformat(),
            "inputs": self.inputs.to_dict(),
            "programs": [asdict(program) for program in self.programs],
        }
        return json.dumps(
            content | {"sha256": _digest(content)}, sort_keys=True, indent=1, allow_nan=False
        )

    @classmethod
    def from_json(cls, text: str) -> EffectReport:
        """The report that `to_json` wrote.

        Raises:
            ValueError: it is damaged.
        """
        try:
            content = json.loads(text)
            if content.pop("sha256") != _digest(content) or content["format"] != FORMAT:
                raise ValueError("its checksum or its format does not match")
            programs = tuple(_program_from(program) for program in content["programs"])
            return cls(
                datetime.fromisoformat(content["at"]), EffectInputs(**content["inputs"]), programs
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it lacks or has an unexpected {error}") from None


def current_costs(programs: pd.DataFrame, stated: Mapping[str, StatedCost]) -> dict[str, Cost]:
    """What programs on record cost: as the district states it, else as the partner does.

    Args:
        programs: the table of that name.
        stated: the district's own costs, by program.
    """
    costs = session_costs(programs)
    for program in programs[Programs.PROGRAM_ID]:
        if program in stated:
            costs[program] = Cost(stated[program].price.dollars, stated[program].price.per)
    return costs


def current_inputs(home: Path, snapshot_id: str, costs: Mapping[str, Cost]) -> EffectInputs:
    """The inputs of figures computed now.

    Raises:
        OutcomeError: the district's own outcome cannot be read.
        SmallNumbersError: the district's own rule of small numbers cannot be read.
    """
    return EffectInputs(
        snapshot_id,
        OutcomeDefinition.of(home).sha256,
        _digest({key: list(cost) for key, cost in costs.items()}),
        catalog_hash(),
        SmallNumbers.from_home(home).smallest_cell,
    )


def publish_effects(
    effects: Sequence[ProgramEffect],
    programs: pd.DataFrame,
    costs: Mapping[str, Cost],
    inputs: EffectInputs,
    at: datetime,
) -> EffectReport:
    """Publishable figures from exact ones, one entry for each program on record.

    Args:
        effects: as `program_effects` returns them.
        programs: the table of that name.
        costs: by program.
        inputs: what the figures are made of, with the rule of small numbers that they obey.
        at: when.
    """
    verdicts = joint_verdicts(effects)
    by_program = {
        effect.program_id: (effect, joint) for effect, joint in zip(effects, verdicts, strict=True)
    }
    entries = []
    for row in programs.to_dict("records"):
        program_id = str(row[Programs.PROGRAM_ID])
        cost = costs.get(program_id)
        if program_id in by_program:
            effect, joint = by_program[program_id]
            entries.append(_published(effect, joint, cost, inputs.small_numbers))
        else:
            entries.append(_without_effect(row, cost))
    by_name = sorted(entries, key=lambda entry: (entry.name.casefold(), entry.program_id))
    return EffectReport(at, inputs, tuple(by_name))


def write_effects(report: EffectReport, home: Path) -> Path:
    """Write the file atomically; an earlier one with other inputs is kept under another name."""
    file = _file(home, report.inputs.snapshot_id)
    try:
        earlier = read_effects(home, report.inputs.snapshot_id)
    except EffectFileCorrupt:
        earlier = None
    if earlier == report:
        return file
    if earlier is not None:
        copy = file.with_name(f"{file.stem}.{earlier.inputs.sha256[:12]}.json")
        write_atomic(copy, earlier.to_json())
    return write_atomic(file, report.to_json())


def read_effects(home: Path, snapshot_id: str) -> EffectReport | None:
    """The figures of a snapshot; None where there are none.

    Raises:
        EffectFileCorrupt: there is a file, and it is damaged.
    """
    file = _file(home, snapshot_id)
    try:
        return EffectReport.from_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise EffectFileCorrupt(
            f"{file} is damaged: {error}. Delete it and run `handrail effects` again"
        ) from None


def newest_effects(home: Path, snapshot_id: str) -> EffectReport | None:
    """The figures of this snapshot, else the newest of another; None where there are none.

    Raises:
        EffectFileCorrupt: a file is damaged.
    """
    own = read_effects(home, snapshot_id)
    if own is not None:
        return own
    others = [read_effects(home, file.stem) for file in (home / "effects").glob("*.json")]
    existing = [report for report in others if report is not None]
    return max(existing, key=lambda report: report.at, default=None)


def _published(
    program: ProgramEffect, joint: JointVerdict, cost: Cost | None, small_numbers: SmallNumbers
) -> PublishedEffect:
    effect, per_student = program.effect, program.cost_per_student
    few = min(effect.served, program.students_per_year) < small_numbers.smallest_cell
    per_point = program.cost_per_point if joint.verdict == GAIN and not few else None
    return PublishedEffect(
        program_id=program.program_id,
        organization_id=program.organization_id,
        name=program.name,
        support=program.support,
        figures=_figures(effect, small_numbers.published_count(effect.served), small_numbers),
        clustered_by=effect.clustered_by,
        clusters=effect.clusters,
        verdict=joint.verdict,
        p_adjusted=None if effect.estimate is None else round(joint.p_value, 3),
        amounts=_amounts(program, small_numbers),
        cost=cost,
        cost_per_student=None if few or per_student is None else round(per_student),
        cost_per_point=_rounded(per_point, 0),
    )


def _without_effect(row: Mapping[Any, Any], cost: Cost | None) -> PublishedEffect:
    """A program that served nobody in the comparison."""
    name, support = row[Programs.NAME], row[Programs.SUPPORT]
    return PublishedEffect(
        program_id=str(row[Programs.PROGRAM_ID]),
        organization_id=str(row[Programs.ORGANIZATION_ID]),
        name=str(row[Programs.PROGRAM_ID] if pd.isna(name) else name),
        support="" if pd.isna(support) else str(support),
        figures=EffectFigures(
            served=None,
            compared=None,
            left_out=None,
            naive=None,
            estimate=None,
            spread=None,
            cannot_tell=NO_SUPPORT if pd.isna(support) or not support else NOBODY_BEGAN,
        ),
        clustered_by="",
        clusters=0,
        verdict=UNKNOWN,
        p_adjusted=None,
        amounts=(),
        cost=cost,
        cost_per_student=None,
        cost_per_point=None,
    )


def _figures(effect: Effect, served: int | None, small_numbers: SmallNumbers) -> EffectFigures:
    """The figures of one comparison; `served` is the number to publish."""
    return EffectFigures(
        served=served,
        compared=small_numbers.published_count(effect.compared),
        left_out=small_numbers.published_count(effect.served_left_out),
        naive=_rounded(effect.naive, 2),
        estimate=_rounded(effect.estimate, 2),
        spread=round(effect.spread, 2) if effect.estimate is not None else None,
        cannot_tell=effect.cannot_tell,
    )


def _amounts(program: ProgramEffect, small_numbers: SmallNumbers) -> tuple[DosageBand, ...]:
    """The bands of amounts received; none without an estimate, as limits might identify."""
    if program.effect.estimate is None:
        return ()
    served_by_band = {band.name: band.effect.served for band in program.dosage}
    hidden = suppressed_parts(served_by_band, small_numbers.smallest_cell)
    bands, above = [], 0.0
    for band in program.dosage:
        served = None if band.name in hidden else round_count(band.effect.served)
        up_to = None if band is program.dosage[-1] else band.most
        bands.append(
            DosageBand(band.name, above, up_to, _figures(band.effect, served, small_numbers))
        )
        above = band.most
    return tuple(bands)


def _rounded(estimate: Estimate | None, digits: int) -> Estimate | None:
    if estimate is None:
        return None
    return Estimate(*(round(value, digits) for value in astuple(estimate)))


def _program_from(content: dict[str, Any]) -> PublishedEffect:
    amounts = tuple(
        DosageBand(**band | {"figures": _figures_from(band["figures"])})
        for band in content["amounts"]
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
