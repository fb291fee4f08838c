"""The fairness audit of one model: every check of `fairness.checks.checks`, group by group, with
intervals and verdicts.

The model sees what serving shows it at most; sensitive facts are read in this room alone, and leave
only as figures of groups large enough. An `Audit` holds no student and no small number; it refuses
to be read back when it does not say what it said.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from functools import cached_property, partial
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fairness.audit.basis import AuditBasis
from fairness.audit.mitigation import TradeoffCurve, consistent_with_audit, tradeoff_curves
from fairness.checks.checks import CHECKS, INTERSECTION_SEPARATOR
from fairness.checks.policy import Policy
from fairness.checks.policy_file import Consequence
from fairness.gate.findings import Finding, Group, PublishedAudit
from fairness.gate.gate import ComparisonVerdict, Verdict, assign_verdicts, overall_verdict
from fairness.measures.matched_pairs import matched_pair_measures
from fairness.measures.model import model_measures
from fairness.measures.past import calibration_measures, past_support_measures, record_measures
from fairness.measures.proxies import Proxy, proxy_strengths
from fairness.measures.use import use_measures
from fairness.population.comparisons import GroupComparison, Measure, MeasureTable, compare_groups
from fairness.population.students import (
    AuditPopulation,
    ModelSuggestions,
    audit_population,
    mask_discipline,
    suggestions_for,
    with_rule_features,
)
from fairness.publication.counts import AuditMeasures
from fairness.publication.publishing import publish
from features.alerts import AlertRules
from features.catalog import FEATURES_BY_NAME
from features.doubted_alerts import Doubted
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import Category
from records.database.engine import Database
from records.snapshots.snapshot import Snapshot
from records.suppression.rounding import round_count
from records.system.errors import UserError
from training.episodes.episodes import Episodes
from training.estimation.arrays import FloatArray
from training.evaluation.evaluate import EvaluationSet
from training.ranking.model_file import RankerModel
from training.ranking.ranker import BenefitRanker

FORMAT = "handrail-audit-3"
_SCHOOL = "school"
_ANY_FORMAT = "handrail-audit-"
Progress = Callable[[str, int, int], None]


class AuditError(UserError, ValueError):
    """An audit that cannot be made or read; the message says why."""


class AuditOutdated(AuditError):
    """An audit as an earlier release wrote it."""


@dataclass(frozen=True)
class PastOutcomes:
    """What came of supports, to hold the model's expectations against: judged episodes, and the
    twin of the model that did not learn from them.
    """

    evaluation_set: EvaluationSet
    holdout_model: BenefitRanker


@dataclass(frozen=True)
class EarlierAudit:
    """An audit that was made of the same students before, of whichever model; None where that model
    cannot be read.

    Attributes:
        rules: the alert rules that it was made under; None where their text is not kept, and then
            those in force stand in for them.
    """

    audit: Audit
    model: RankerModel | None
    rules: AlertRules | None = None


@dataclass(frozen=True)
class Audit:
    """What was found, of which model, on which records, under which policy. Equal audits have equal
    bytes.

    Attributes:
        data: what was read: tables with their numbers of rows, rounded to ten, and where they came
            from.
        policy_sha256: the digest of all parts of the `AuditBasis` that it was made under.
        comparisons: how many figures took part in the correction for their number.
        students, in_need, helped: rounded; `helped` is the share of those in need with a support or
            a suggestion.
        behavior: whether discipline is an input of the model.
        curves: where a check of the model stops it, what ways of mending it would trade. Nothing of
            it is applied.
        basis: the digest of each part of that `AuditBasis`; none in an audit of an earlier release,
            whose `policy_sha256` was that of the policy alone.
        supports: of each kind of support that the model knows whether it told of housing; None if
            it was not on the district's list, and so not suggested. Empty in an audit of an earlier
            release, which suggested all of them.
        doubted: schools by identifier, each with a category of records of which something was
            doubted: nobody there counts as in need by an alert that rests on it. Empty where
            nothing was.
        doubted_schools: their names, as `groups` has them.
    """

    version: int
    model_sha256: str
    snapshot_id: str
    as_of: date
    at: datetime
    data: Mapping[str, Any]
    policy_sha256: str
    policy: Mapping[str, Any]
    comparisons: int
    verdict: Verdict
    students: int | None
    in_need: int | None
    helped: float | None
    behavior: bool
    groups: tuple[Group, ...]
    findings: tuple[Finding, ...]
    proxies: tuple[Proxy, ...]
    curves: tuple[TradeoffCurve, ...]
    basis: Mapping[str, str] = field(default_factory=dict)
    supports: Mapping[str, bool | None] = field(default_factory=dict)
    doubted: tuple[tuple[str, Category], ...] = ()
    doubted_schools: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """A digest of the canonical JSON: what a reviewer signs."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def shown(self) -> PublishedAudit:
        """What it shows of numbers of students."""
        return PublishedAudit(self.students, self.in_need, self.helped, self.groups, self.findings)

    @property
    def doubted_students(self) -> int | None:
        """About how many students are at schools of which something was doubted: by what is shown
        of these schools, so that no other number follows. None where that is not shown.
        """
        shown = {group.value: group.students for group in self.groups if group.attribute == _SCHOOL}
        numbers = [shown.get(school) for school in self.doubted_schools]
        known = [number for number in numbers if number is not None]
        return sum(known) if len(known) == len(numbers) else None

    @property
    def stopping(self) -> tuple[Finding, ...]:
        """What stops the model."""
        return tuple(finding for finding in self.findings if finding.does is Consequence.STOPS)

    @property
    def asking(self) -> tuple[Finding, ...]:
        """What the reviewer must answer in writing."""
        return tuple(finding for finding in self.findings if finding.does is Consequence.ASKS)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no infinite or missing numbers."""
        content = {"format": FORMAT} | asdict(self)
        if not self.basis:
            # As an earlier release wrote it: its digest, which was signed, must stay.
            del content["basis"]
        if "supports" not in self.basis:
            del content["supports"]
        if not self.doubted:
            del content["doubted"], content["doubted_schools"]
        return json.dumps(
            content,
            sort_keys=True,
            indent=1,
            allow_nan=False,
            default=lambda value: value.isoformat(),
        )

    @classmethod
    def from_json(cls, text: str) -> Audit:
        """The audit that `to_json` wrote.

        Raises:
            AuditOutdated: it is of another format.
            AuditError: the text is no audit, or its verdict does not follow from its findings.
        """
        try:
            content = json.loads(text)
            if not isinstance(content, dict) or not str(content.get("format", "")).startswith(
                _ANY_FORMAT
            ):
                raise AuditError("the file holds no audit: audit the version again")
            if content.pop("format") != FORMAT:
                raise AuditOutdated(
                    f"the audit is not of the format {FORMAT!r}: audit the version again"
                )
            audit = _AUDIT.validate_json(json.dumps(content))
        except (json.JSONDecodeError, ValidationError) as error:
            raise AuditError(f"the audit cannot be read: {error}") from None
        derived = verdict_of(audit.findings)
        if audit.verdict is not derived:
            raise AuditError(f"the audit says {audit.verdict}, but its findings say {derived}")
        return audit


_AUDIT = TypeAdapter(Audit)


def audit_model(
    model: RankerModel,
    version: int,
    snapshot: Snapshot,
    as_of: date,
    policy: Policy,
    at: datetime,
    *,
    episodes: Episodes | None = None,
    past: PastOutcomes | None = None,
    database: Database | None = None,
    earlier: Sequence[EarlierAudit] = (),
    rules: AlertRules | None = None,
    doubted: Doubted = (),
    progress: Progress = lambda name, done, total: None,
) -> Audit:
    """Audit a model on every student enrolled on a day.

    Args:
        at: when the audit is made, as the caller's clock says it.
        episodes: those of the snapshot; None where there are none, and then nobody asks who got
            what in the past.
        past: what came of supports; None where that is not known, and then nobody asks whether it
            came true.
        database: where lists that were shown and decisions are stored; None, and nobody asks what
            staff saw and did.
        earlier: what other audits of these students have shown. Nothing is shown from which,
            together with it, a small number would follow.
        rules: the alert rules in force; by default those that come with Handrail.
        doubted: schools, each with a category of records of which something is doubted, as for the
            alerts of the site.

    Raises:
        AuditError: nobody is enrolled on that day.
    """
    report_step = partial(progress, "auditing")
    report_step(0, 5)
    supports = snapshot.supports.rules(model.ranker.supports_)
    students = audit_population(
        snapshot, as_of, policy, _suggested(model, supports), rules, sorted(doubted)
    )
    if not len(students):
        raise AuditError(f"no student is enrolled on {as_of} in the snapshot {snapshot.id}")
    report_step(1, 5)
    table, others = measure_population(model, students, snapshot, policy, episodes, past)
    used = use_measures(database, snapshot, students, model.sha256, policy) if database else None
    others += [used] if used else []
    report_step(2, 5)
    verdicts = assign_verdicts(group_comparisons(table, others), policy)
    report_step(3, 5)
    records = [measure for measure in table.measures if CHECKS[measure.check].subject == "records"]
    earlier_counts = [
        (_counted(audited, snapshot, students, policy, episodes, records), audited.audit.shown)
        for audited in earlier
    ]
    shown = publish(
        verdicts, AuditMeasures(table, others, _flags(students, policy), policy), earlier_counts
    )
    report_step(4, 5)
    proxies = proxy_strengths(
        students, model.ranker.feature_names_, policy.fewest_in_need, policy.confidence
    )
    report_step(5, 5)
    basis = AuditBasis.current(policy, supports, students.rules)
    return Audit(
        version,
        model.sha256,
        snapshot.id,
        as_of,
        at,
        _data(snapshot, policy.smallest_cell),
        basis.sha256,
        json.loads(json.dumps(asdict(policy))),
        compared_count(verdicts),
        verdict_of(shown.findings),
        shown.students,
        shown.in_need,
        shown.helped,
        uses_discipline(model),
        shown.groups,
        shown.findings,
        tuple(proxies),
        tuple(_curves(model, students, snapshot, policy, shown)),
        asdict(basis),
        supports,
        tuple(students.doubted),
        students.doubted_schools,
    )


def measure_population(
    model: RankerModel,
    students: AuditPopulation,
    snapshot: Snapshot,
    policy: Policy,
    episodes: Episodes | None = None,
    past: PastOutcomes | None = None,
) -> tuple[MeasureTable, list[MeasureTable]]:
    """The measures of every check: of the audited students, and of other rows (decision days,
    twins).
    """
    advice = suggestions_for(model, students)
    measures = [*_model_measures(model, students, advice, policy), *record_measures(students)]
    others = list(
        matched_pair_measures(students, advice, list(model.ranker.feature_names_), policy)
    )
    if episodes is not None and len(episodes):
        others.append(_past_supports(model, students, snapshot, policy, episodes))
    if past is not None:
        others.append(calibration_measures(past.evaluation_set, past.holdout_model, students))
    return MeasureTable(tuple(measures), students.groups, students.cohorts), others


def _model_measures(
    model: RankerModel, students: AuditPopulation, advice: ModelSuggestions, policy: Policy
) -> list[Measure]:
    discipline = uses_discipline(model)
    blind = (
        suggestions_for(model, students, mask_discipline(students.features)) if discipline else None
    )
    return model_measures(students, advice, policy, blind)


def _past_supports(
    model: RankerModel,
    students: AuditPopulation,
    snapshot: Snapshot,
    policy: Policy,
    episodes: Episodes,
) -> MeasureTable:
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "training", students.as_of))
    return past_support_measures(
        with_rule_features(snapshot, episodes, students.rules),
        records.frame("programs"),
        students,
        model.ranker.supports_,
        policy,
    )


def _counted(
    earlier: EarlierAudit,
    snapshot: Snapshot,
    students: AuditPopulation,
    policy: Policy,
    episodes: Episodes | None,
    records: Sequence[Measure],
) -> AuditMeasures:
    """What an earlier audit counted, worked out again since only its figures are stored.

    Args:
        records: the measures of records of the audit being made, which the earlier one shares.
    """
    then, model = Policy.from_content(earlier.audit.policy), earlier.model
    supports = (
        tuple(students.eligible.columns)
        if model is None
        else _suggested(model, earlier.audit.supports)
    )
    rules = earlier.rules or students.rules
    same_need = (
        then == policy
        and rules.sha256 == students.rules.sha256
        and earlier.audit.doubted == tuple(students.doubted)
    )
    if not same_need or set(supports) != set(students.eligible.columns):
        students = audit_population(
            snapshot, students.as_of, then, supports, rules, earlier.audit.doubted
        )
    measures, others = list(records), []
    if model is not None:
        measures += _model_measures(model, students, suggestions_for(model, students), then)
        if episodes is not None and len(episodes):
            others.append(_past_supports(model, students, snapshot, then, episodes))
    table = MeasureTable(tuple(measures), students.groups, students.cohorts)
    return AuditMeasures(table, others, _flags(students, then), then)


def _suggested(model: RankerModel, supports: Mapping[str, bool | None]) -> tuple[str, ...]:
    """The kinds that the model knows, without those that are on no list.

    Args:
        supports: as `Audit.supports`.
    """
    return tuple(key for key in model.ranker.supports_ if supports.get(key, False) is not None)


def _flags(students: AuditPopulation, policy: Policy) -> FloatArray:
    return students.in_need(policy).astype("float64")


def group_comparisons(table: MeasureTable, others: Sequence[MeasureTable]) -> list[GroupComparison]:
    """The exact figures of every group and measure: not to be shown."""
    return [
        comparison
        for rows in (table, *others)
        for comparison in compare_groups(rows.measures, rows.groups, rows.cohorts)
    ]


def compared_count(judged: Sequence[ComparisonVerdict]) -> int:
    """How many figures were judged."""
    return sum(verdict.sufficient_data for verdict in judged)


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """The verdict that follows from the findings."""
    return overall_verdict((finding.verdict, finding.counts, finding.does) for finding in findings)


def uses_discipline(model: RankerModel) -> bool:
    """Whether discipline is among what a model reads."""
    return any(
        FEATURES_BY_NAME[name].category is Category.BEHAVIOR for name in model.ranker.feature_names_
    )


def _curves(
    model: RankerModel,
    students: AuditPopulation,
    snapshot: Snapshot,
    policy: Policy,
    shown: PublishedAudit,
) -> Iterator[TradeoffCurve]:
    """Ways of mending what stops a model, for each attribute that stops it; of two groups at once,
    for the first.
    """
    attributes = [
        finding.attribute.split(INTERSECTION_SEPARATOR)[0]
        for finding in shown.findings
        if finding.does is Consequence.STOPS
    ]
    records = ScopedRecords(snapshot, pipeline_scope(snapshot, "training", students.as_of))
    for attribute in dict.fromkeys(attributes):
        curves = tradeoff_curves(model, students, policy, attribute, records.frame("programs"))
        yield from consistent_with_audit(curves, shown.findings, shown.helped)


def _data(snapshot: Snapshot, smallest: int) -> dict[str, Any]:
    """The data manifest: what was read, without a number that could tell of a few."""
    rows = snapshot.manifest["rows"]
    return {
        "manifest_sha256": hashlib.sha256(
            (snapshot.path / "manifest.json").read_bytes()
        ).hexdigest(),
        "tables": {
            name: round_count(count) for name, count in sorted(rows.items()) if count >= smallest
        },
    }
