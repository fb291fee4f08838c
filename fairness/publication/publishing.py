"""From exact figures to what may be shown of them: rounded, and without any from which a small
number would follow.

Numbers of students are rounded to ten and shares to whole percents. What must be withheld is found
by trying to get at the small numbers as an attacker would, by linear programming over everything
that is shown (`disclosure_control`). The verdicts are those of the exact figures. Gaps of plain
shares are worked out from the rounded shares, and errors from rounded numbers, so that they tell
nothing beyond these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from fairness.gate.findings import NOTHING_RECORDED, TOO_FEW, Finding, Group, PublishedAudit
from fairness.gate.gate import ComparisonVerdict, Verdict, consequence
from fairness.policy.checks import CHECKS, COMPLEMENT_OF_MISSED, INTERSECTION_SEPARATOR
from fairness.policy.policy import Policy
from fairness.policy.policy_file import Consequence
from fairness.population.comparisons import NOT_RECORDED, GroupComparison
from fairness.publication.counts import (
    IN_NEED,
    STUDENTS,
    AuditMeasures,
    FindingKey,
    PublicationTables,
)
from records.suppression.cell_suppression import TableCell, suppressed_cells
from records.suppression.rounding import round_count, round_share


def publish(
    judged: Sequence[ComparisonVerdict],
    counted: AuditMeasures,
    before: Sequence[tuple[AuditMeasures, PublishedAudit]] = (),
) -> PublishedAudit:
    """What may be shown of judged figures.

    Args:
        before: what other audits of the same students counted, and what was shown of it. It is
            withheld no more, and nothing is shown from which, together with it, a small number
            would follow.
    """
    policy, whole = counted.policy, PublicationTables(counted)
    for earlier, known in before:
        PublicationTables(earlier, whole, known)
    shown = whole.published.facts - suppressed_cells(whole.published, policy.smallest_cell)
    findings = [_finding(one, whole, shown, policy) for one in judged]
    unknown = [
        _unknown(name, policy)
        for name in policy.groups
        if (whole.rows.groups[name] == NOT_RECORDED).all()
    ]
    groups = []
    for attribute, value in whole.cells:
        sizes = [
            whole.published.true[name] if whole.sizes.get(name) in shown else None
            for name in ((STUDENTS, attribute, value), (IN_NEED, attribute, value))
        ]
        groups.append(
            Group(
                attribute, value, *(None if size is None else round_count(size) for size in sizes)
            )
        )
    need = whole.published.true[IN_NEED,]
    total, in_all = (
        round_count(whole.published.true[name,]) if whole.sizes.get((name,)) in shown else None
        for name in (STUDENTS, IN_NEED)
    )
    helped = whole.everybody
    missed = (
        round_share(whole.published.true[helped.names[0]] / need)
        if helped is not None and helped in shown
        else None
    )
    share = None if missed is None else round_share(1 - missed)
    return PublishedAudit(total, in_all, share, tuple(groups), (*unknown, *findings))


def _finding(
    one: ComparisonVerdict, whole: PublicationTables, shown: set[TableCell], policy: Policy
) -> Finding:
    figure = one.figure
    number = whole.numbers.get((figure.check, figure.item, figure.attribute, figure.value))
    n = round_count(whole.published.true[number.names[0]]) if number and number in shown else None
    counts = policy.counts(figure.check, figure.attribute)
    does = consequence(one.verdict, policy.checks[figure.check], counts)
    if (
        does is Consequence.ASKS
        and one.verdict is Verdict.CANNOT_TELL
        and INTERSECTION_SEPARATOR in figure.attribute
    ):
        does = Consequence.SHOWS
    why = "" if one.enough else TOO_FEW
    return Finding(
        figure.check,
        figure.item,
        figure.attribute,
        figure.value,
        one.verdict,
        does,
        counts,
        n,
        why=why,
        **_figures(one, whole.shares, shown, policy),
    )


def _figures(
    one: ComparisonVerdict,
    facts: Mapping[tuple[FindingKey, bool], TableCell | None],
    shown: set[TableCell],
    policy: Policy,
) -> dict[str, float | None]:
    """The group's rate, that of all others, the gap and its interval, as far as they may be
    shown.
    """
    figure = one.figure
    place = figure.check, figure.item, figure.attribute, figure.value
    own, rest = (
        rows >= policy.fewest_in_need and told >= policy.smallest_cell
        for rows, told in ((figure.rows, figure.told), (figure.others, figure.others_told))
    )
    plain = (place, True) in facts
    if plain:
        own, rest = facts[place, True] in shown, facts[place, False] in shown
    digits = 1 if CHECKS[figure.check].unit == "points" else 2
    rate = (
        _shown_rate(figure.check, figure.rate, digits)
        if own and math.isfinite(figure.rate)
        else None
    )
    others_rate = None
    if rest and math.isfinite(figure.others_rate):
        others_rate = _shown_rate(figure.check, figure.others_rate, digits)
    found = {"rate": rate, "others_rate": others_rate, "gap": None, "lower": None, "upper": None}
    if not one.enough or rate is None or (others_rate is None and figure.contrast != "mean"):
        return found
    gap = (
        _rounded_gap(figure, rate, others_rate)
        if plain and not CHECKS[figure.check].stratified
        else figure.gap
    )
    ends = dict(zip(("lower", "upper"), figure.interval(policy.confidence), strict=True))
    moved = {
        name: end * gap / figure.gap
        if figure.contrast == "ratio" and figure.gap
        else end + gap - figure.gap
        for name, end in ends.items()
    }
    return found | {
        name: round(value, digits) + 0.0 if math.isfinite(value) else None
        for name, value in {"gap": gap, **moved}.items()
    }


def _shown_rate(check: str, rate: float, digits: int) -> float:
    return (
        round_share(1 - round_share(1 - rate))
        if check == COMPLEMENT_OF_MISSED
        else round(rate, digits)
    )


def _rounded_gap(figure: GroupComparison, rate: float | None, others_rate: float | None) -> float:
    """The gap of the shares as they are shown."""
    if rate is None or others_rate is None or not others_rate or not rate:
        return figure.gap
    return rate / others_rate if figure.contrast == "ratio" else rate - others_rate


def _unknown(name: str, policy: Policy) -> Finding:
    """That nothing is on record by which a group could be told."""
    does = consequence(Verdict.CANNOT_TELL, policy.checks["missed"], policy.counts("missed", name))
    return Finding(
        "missed",
        "",
        name,
        NOT_RECORDED,
        Verdict.CANNOT_TELL,
        does,
        policy.counts("missed", name),
        None,
        None,
        None,
        None,
        None,
        None,
        NOTHING_RECORDED,
    )
