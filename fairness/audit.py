"""The fairness audit of one model: what it suggests to students in need, group by group, with intervals and verdicts.

Need is defined without the model: an early alert raised from the same records. The model sees what serving shows it
at most; sensitive facts are read here alone, and leave only as rates of groups large enough. An `Audit` holds no
student and no small number; it refuses to be read back when it does not say what it said.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

import pandas as pd
from fairlearn.metrics import MetricFrame, count, false_negative_rate, selection_rate

from fairness.gate import Interval, Policy, Verdict, judge_difference, judge_ratio, overall, worst
from fairness.intervals import difference, ratio
from fairness.small_cells import about, hidden_cells, percent
from features.alerts import alerts
from features.attendance import grade_level
from features.build import build_features
from records.schema import RACE_ETHNICITIES, SEXES, SUPPORTS
from records.scope import ScopedRecords, pipeline_scope
from records.snapshots import Snapshot
from training.model_file import RankerModel
from training.suggestions import eligible, suggest

FORMAT = "handrail-audit-1"
NOT_RECORDED = "not_recorded"
CROSS = " x "
GRADE_BANDS = {"pre_k_2": (-1, 2), "3_5": (3, 5), "6_8": (6, 8), "9_12": (9, 12)}
_ORDER = ("yes", "no", *SEXES, *RACE_ETHNICITIES, *GRADE_BANDS, NOT_RECORDED)
TOO_FEW = "too_few"
NOTHING_RECORDED = "nothing_recorded"
NOBODY_SUGGESTED = "nobody_suggested"


class AuditError(ValueError):
    """An audit that cannot be made or read; the message says why."""


@dataclass(frozen=True)
class Comparison:
    """A group against all others in need: the figure, its interval, its verdict. None where it may not be shown."""

    verdict: Verdict
    point: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class Group:
    """One group, as it may be shown.

    Numbers of students are rounded to ten and shares to a whole percent; None where a number is too small to show or
    another would follow from it. `why` is empty, or the code of why nothing could be judged.
    """

    attribute: str
    value: str
    students: int | None
    in_need: int | None
    suggestion_rate: float | None
    others_rate: float | None
    ratio: Comparison
    missed_difference: Comparison
    silence_rate: float | None
    mean_benefit: float | None
    supports: Mapping[str, float | None]
    judged: bool
    why: str

    @property
    def verdict(self) -> Verdict:
        return worst([self.ratio.verdict, self.missed_difference.verdict])

    @property
    def crossed(self) -> bool:
        """Whether this is an intersection of two groups."""
        return CROSS in self.attribute


@dataclass(frozen=True)
class Audit:
    """What was found, of which model, on which records, under which policy. Equal audits have equal bytes."""

    version: int
    model_sha256: str
    snapshot_id: str
    as_of: date
    at: datetime
    policy_sha256: str
    policy: Mapping[str, Any]
    comparisons: int
    verdict: Verdict
    students: int
    in_need: int | None
    suggestion_rate: float | None
    groups: tuple[Group, ...]

    @property
    def sha256(self) -> str:
        """A digest of the canonical JSON: what a reviewer signs."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no infinite or missing numbers."""
        content = {"format": FORMAT} | asdict(self)
        return json.dumps(content, sort_keys=True, indent=1, allow_nan=False, default=lambda value: value.isoformat())

    @classmethod
    def from_json(cls, text: str) -> Audit:
        """The audit that `to_json` wrote.

        Raises:
            AuditError: the text is no audit of this format, or its verdict does not follow from its groups.
        """
        try:
            content = json.loads(text)
            if content.pop("format") != FORMAT:
                raise AuditError(f"the audit is not of the format {FORMAT!r}")
            groups = tuple(_group_from(one) for one in content.pop("groups"))
            audit = cls(**content | {"as_of": date.fromisoformat(content["as_of"]), "groups": groups,
                                     "at": datetime.fromisoformat(content["at"]),
                                     "verdict": Verdict(content["verdict"])})  # fmt: skip
        except AuditError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AuditError(f"the audit cannot be read: {error}") from None
        if audit.verdict is not verdict_of(groups):
            raise AuditError(f"the audit says {audit.verdict}, but its groups say {verdict_of(groups)}")
        return audit


def audit_model(model: RankerModel, version: int, snapshot: Snapshot, as_of: date, policy: Policy,
                at: datetime) -> Audit:  # fmt: skip
    """Audit a model on every student enrolled on a day.

    Args:
        at: when the audit is made, as the caller's clock says it.

    Raises:
        AuditError: nobody is enrolled on that day.
    """
    frame, supports = students_frame(model, snapshot, as_of, policy)
    if frame.empty:
        raise AuditError(f"no student is enrolled on {as_of} in the snapshot {snapshot.id}")
    found = figures(frame, policy)
    groups = published(found, heat(frame, supports, policy), policy)
    total = int(frame["in_need"].sum())
    suggested = int((frame["in_need"] & frame["suggested"]).sum())
    in_words = json.loads(json.dumps(asdict(policy)))
    return Audit(
        version, model.sha256, snapshot.id, as_of, at, policy.sha256, in_words, comparisons(found),
        verdict_of(groups), about(len(frame)), about(total) if total >= policy.smallest_cell else None,
        percent(suggested / total) if min(suggested, total - suggested) >= policy.smallest_cell else None, groups,
    )  # fmt: skip


def students_frame(model: RankerModel, snapshot: Snapshot, as_of: date,
                   policy: Policy) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """The table that an audit is worked out of, of the students enrolled on the day: never written anywhere.

    Returns:
        By student: in_need, suggested (bool), benefit (of the first suggestion, else NaN) and a column a group (text);
        and, indexed alike, which supports were suggested (bool).
    """
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "features", as_of))
    here = _enrolled(records, as_of)
    features = build_features(records, as_of).loc[here]
    allowed = eligible(records, as_of, model.ranker.supports_).loc[here]
    shown = suggest(model.ranker, features, allowed).table
    first = shown[shown["rank"] == 1].set_index("student_id")["benefit"].astype("float64")
    in_need = {alert.student_id for alert in alerts(features) if alert.severity >= policy.need_severity}
    frame = pd.DataFrame({"in_need": here.isin(in_need), "suggested": here.isin(first.index)}, index=here)
    frame["benefit"] = first.reindex(here)
    sensitive = ScopedRecords(snapshot, pipeline_scope(snapshot, "audit", as_of)).frame("characteristics")
    grades = records.ask(grade_level, as_of).set_index("student_id")["grade_level"]
    facts = sensitive.set_index("student_id").reindex(here).assign(grade_band=grades.reindex(here).map(_band))
    for name in policy.groups:
        frame[name] = facts[name].map(_value).astype(object)
    for one, two in policy.intersections:
        known = (frame[one] != NOT_RECORDED) & (frame[two] != NOT_RECORDED)
        frame[one + CROSS + two] = (frame[one] + CROSS + frame[two]).where(known, NOT_RECORDED)
    suggested = {name: here.isin(shown.loc[shown["support"] == name, "student_id"]) for name in SUPPORTS
                 if name in model.ranker.supports_}  # fmt: skip
    return frame, pd.DataFrame(suggested, index=here, dtype=bool)


def figures(frame: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """Exact figures of every group, from one row a student (see `students_frame`): they are not to be shown.

    Returns:
        One row a group: attribute, value, students, silent, in_need, suggested, suggestion_rate, missed_rate,
        mean_benefit; others_in_need and others_suggested (students in need with another value on record); judged
        (False for what the policy only reports, and for "not recorded" where others are recorded); enough; and the
        intervals `ratio` and `difference`, whose ends hold at once with the policy's confidence.
    """
    attributes = [*policy.groups, *(one + CROSS + two for one, two in policy.intersections)]
    rows = [row for attribute in attributes for row in _attribute(frame, attribute)]
    found = pd.DataFrame(rows)
    recorded = found["value"] != NOT_RECORDED
    anything = found["attribute"].isin(found.loc[recorded, "attribute"])
    found["judged"] = (recorded | ~anything) & ~found["attribute"].isin(policy.reported.keys())
    known = found[recorded].groupby("attribute")[["in_need", "suggested"]].sum()
    for name in ("in_need", "suggested"):
        total = found["attribute"].map(known[name]).fillna(0).astype(int)
        found[f"others_{name}"] = (total - found[name]).where(recorded, 0)
    fewest = found[["in_need", "others_in_need"]].min(axis=1)
    found["enough"] = recorded & (fewest >= policy.fewest_in_need)
    z = policy.z(comparisons(found))
    columns = ["suggested", "in_need", "others_suggested", "others_in_need"]
    cells = [(int(s), int(n), int(other_s), int(other_n)) for s, n, other_s, other_n in found[columns].to_numpy()]
    found["ratio"] = [ratio(s, n, other_s, other_n, z) for s, n, other_s, other_n in cells]
    found["difference"] = [difference(n - s, n, other_n - other_s, other_n, z) for s, n, other_s, other_n in cells]
    return found


def comparisons(found: pd.DataFrame) -> int:
    """How many intervals must hold at once: two for each group that is large enough to judge."""
    return 2 * int(found["enough"].sum())


def heat(frame: pd.DataFrame, supports: pd.DataFrame, policy: Policy) -> dict[tuple[str, str], dict[str, float | None]]:
    """By attribute and value, the share of students in need to whom each support was suggested; None if not to show."""
    need = frame[frame["in_need"]]
    rates: dict[tuple[str, str], dict[str, float | None]] = {}
    for attribute in [*policy.groups, *(one + CROSS + two for one, two in policy.intersections)]:
        values = need[attribute]
        sizes = values.value_counts()
        for support in supports.columns:
            given = supports.loc[need.index, support].groupby(values).sum()
            cells = {str(value): (int(given[value]), int(sizes[value] - given[value])) for value in sizes.index}
            hidden = hidden_cells(cells, policy.smallest_cell, shares=True)
            for value, (some, rest) in cells.items():
                rate = None if value in hidden else percent(some / (some + rest))
                rates.setdefault((attribute, value), {})[str(support)] = rate
    return rates


def published(found: pd.DataFrame, rates: Mapping[tuple[str, str], Mapping[str, float | None]],
              policy: Policy) -> tuple[Group, ...]:  # fmt: skip
    """The groups as they may be shown: judged on exact figures, then rounded, small cells and what betrays them left
    out."""
    groups: list[Group] = []
    for _, table in found.groupby("attribute", sort=False):
        rows = table.to_dict("records")
        hidden = _hidden(rows, policy.smallest_cell)
        for row in rows:
            place = str(row["attribute"]), str(row["value"])
            no_size, no_need, no_outcome, no_silence = (place[1] in values for values in hidden)
            groups.append(Group(
                *place, students=None if no_size else about(row["students"]),
                in_need=None if no_need else about(row["in_need"]),
                silence_rate=None if no_silence else percent(row["silent"] / row["students"]),
                supports={name: None if no_need else rate for name, rate in rates.get(place, {}).items()},
                **_outcomes(row, not no_outcome, policy),
            ))  # fmt: skip
    return tuple(groups)


def verdict_of(groups: tuple[Group, ...]) -> Verdict:
    """The verdict on a model, from the groups that were judged."""
    judged = [group for group in groups if group.judged]
    return overall([group.verdict for group in judged if not group.crossed],
                   [group.verdict for group in judged if group.crossed])  # fmt: skip


def _hidden(rows: Sequence[Mapping[Hashable, Any]], smallest: int) -> tuple[set[str], set[str], set[str], set[str]]:
    """The values of one attribute whose size, need, outcome and silence must not be shown."""
    size = hidden_cells({row["value"]: (row["students"],) for row in rows}, smallest)
    need = size | hidden_cells({row["value"]: (row["in_need"],) for row in rows}, smallest)
    outcomes = {row["value"]: (row["suggested"], row["in_need"] - row["suggested"]) for row in rows}
    silences = {row["value"]: (row["silent"], row["students"] - row["silent"]) for row in rows}
    return (size, need, need | hidden_cells(outcomes, smallest, shares=True),
            size | hidden_cells(silences, smallest, shares=True))  # fmt: skip


def _outcomes(row: Mapping[Hashable, Any], shown: bool, policy: Policy) -> dict[str, Any]:
    """What happened to a group, compared with the others; the verdicts stand even where the figures may not."""
    verdicts = (Verdict.CANNOT_TELL, Verdict.CANNOT_TELL)
    why = ""
    if not row["enough"]:
        why = NOTHING_RECORDED if row["value"] == NOT_RECORDED else TOO_FEW
    else:
        verdicts = (judge_ratio(row["ratio"], policy), judge_difference(row["difference"], policy))
        if not row["suggested"] + row["others_suggested"]:
            why = NOBODY_SUGGESTED
    others = row["others_suggested"], row["others_in_need"] - row["others_suggested"]
    compared = shown and row["enough"] and min(others) >= policy.smallest_cell
    return {
        "suggestion_rate": percent(row["suggestion_rate"]) if shown else None,
        "others_rate": percent(row["others_suggested"] / row["others_in_need"]) if compared else None,
        "ratio": _comparison(verdicts[0], row["ratio"], compared),
        "missed_difference": _comparison(verdicts[1], row["difference"], compared),
        "mean_benefit": round(float(row["mean_benefit"]), 1) if shown else None,
        "judged": bool(row["judged"]), "why": why,
    }  # fmt: skip


def _comparison(verdict: Verdict, figure: Interval, shown: bool) -> Comparison:
    if not shown:
        return Comparison(verdict, None, None, None)
    return Comparison(verdict, *(round(value, 2) + 0.0 if math.isfinite(value) else None for value in figure))


def _attribute(frame: pd.DataFrame, attribute: str) -> list[dict[str, Any]]:
    """The figures of each value of one attribute; one row that says "not recorded" where no value is known."""
    everyone = MetricFrame(
        metrics={"students": count, "speaks": selection_rate}, y_true=frame["in_need"].astype(int),
        y_pred=frame["suggested"].astype(int), sensitive_features=frame[attribute],
    ).by_group  # fmt: skip
    need = frame[frame["in_need"]]
    in_need = pd.DataFrame()
    if len(need):
        in_need = MetricFrame(
            metrics={"in_need": count, "suggestion_rate": selection_rate, "missed_rate": false_negative_rate},
            y_true=need["in_need"].astype(int), y_pred=need["suggested"].astype(int),
            sensitive_features=need[attribute],
        ).by_group  # fmt: skip
    benefits = need.loc[need["suggested"]].groupby(attribute)["benefit"].mean()
    rows = []
    for value in sorted(everyone.index, key=_order):
        sizes = everyone.loc[value]
        some = in_need.loc[value] if value in in_need.index else {}
        size = int(some.get("in_need", 0))
        rate = float(some.get("suggestion_rate", math.nan))
        rows.append({
            "attribute": attribute, "value": str(value), "students": int(sizes["students"]),
            "silent": round(sizes["students"] * (1 - sizes["speaks"])), "in_need": size,
            "suggested": round(size * rate) if size else 0, "suggestion_rate": rate,
            "missed_rate": float(some.get("missed_rate", math.nan)), "mean_benefit": benefits.get(value, math.nan),
        })  # fmt: skip
    return rows


def _order(value: str) -> list[int]:
    return [_ORDER.index(part) for part in value.split(CROSS)]


def _enrolled(records: ScopedRecords, as_of: date) -> pd.Index:
    """Students enrolled on the day; everyone where the source brings no enrolments at all."""
    stays = records.frame("school_enrollments")
    everyone = pd.Index(records.students, name="student_id", dtype=object)
    if stays.empty:
        return everyone
    day, last = pd.Timestamp(as_of), pd.to_datetime(stays["exit_date"])
    there = (pd.to_datetime(stays["entry_date"]) <= day) & (last.isna() | (last >= day))
    return everyone[everyone.isin(stays.loc[there, "student_id"])]


def _band(grade: float | None) -> str | None:
    for name, (low, high) in GRADE_BANDS.items():
        if grade is not None and low <= grade <= high:
            return name
    return None


def _value(value: object) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return NOT_RECORDED
    return str(value) if isinstance(value, str) else ("yes" if value else "no")


def _group_from(content: Mapping[str, Any]) -> Group:
    compared = {name: Comparison(**content[name] | {"verdict": Verdict(content[name]["verdict"])})
                for name in ("ratio", "missed_difference")}  # fmt: skip
    return Group(**{**content, **compared})
