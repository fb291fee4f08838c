"""From exact figures to what may be published of them: rounded, and giving no small number away.

Numbers of students are rounded to ten and shares to whole percents. What must be suppressed is
found by trying to get at the small numbers as an attacker would, by linear programming over
everything that is published (`records.suppression.cell_suppression`). The verdicts are those of the
exact figures. Gaps of plain shares are worked out from the rounded shares, and errors from rounded
numbers, so that they disclose nothing beyond these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from fairness.checks.checks import CHECKS, COMPLEMENT_OF_MISSED, INTERSECTION_SEPARATOR
from fairness.checks.policy import Policy
from fairness.checks.policy_file import Consequence
from fairness.gate.findings import NOTHING_RECORDED, TOO_FEW, Finding, Group, PublishedAudit
from fairness.gate.gate import ComparisonVerdict, Verdict, consequence
from fairness.population.comparisons import NOT_RECORDED, GroupComparison
from fairness.publication.counts import (
    IN_NEED,
    STUDENTS,
    AuditMeasures,
    FindingKey,
    PublicationTables,
)
from records.suppression.cell_suppression import CountName, TableCell, suppressed_cells
from records.suppression.rounding import round_count, round_share


def publish(
    judged: Sequence[ComparisonVerdict],
    counted: AuditMeasures,
    earlier: Sequence[tuple[AuditMeasures, PublishedAudit]] = (),
) -> PublishedAudit:
    """What may be published of an audit's verdicts and figures.

    Args:
        earlier: what other audits of the same students counted, and what was published of it. It
            is suppressed no more, and nothing is published from which, together with it, a small
            number would follow.
    """
    policy, tables = counted.policy, PublicationTables(counted)
    for earlier_counted, published_audit in earlier:
        PublicationTables(earlier_counted, tables, published_audit)
    published = tables.tables.cells - suppressed_cells(tables.tables, policy.smallest_cell)
    unrecorded = [
        _nothing_recorded(name, policy)
        for name in policy.groups
        if (tables.rows.groups[name] == NOT_RECORDED).all()
    ]
    findings = [_finding(verdict, tables, published, policy) for verdict in judged]
    return PublishedAudit(
        _published_size((STUDENTS,), tables, published),
        _published_size((IN_NEED,), tables, published),
        _published_help(tables, published),
        tuple(
            Group(
                attribute,
                value,
                _published_size((STUDENTS, attribute, value), tables, published),
                _published_size((IN_NEED, attribute, value), tables, published),
            )
            for attribute, value in tables.groups
        ),
        (*unrecorded, *findings),
    )


def _published_size(
    name: CountName, tables: PublicationTables, published: set[TableCell]
) -> int | None:
    """How many students are of a group or in need, rounded; None where that is suppressed."""
    is_published = tables.sizes.get(name) in published
    return round_count(tables.tables.true_counts[name]) if is_published else None


def _published_help(tables: PublicationTables, published: set[TableCell]) -> float | None:
    """The share of all in need with a support or a suggestion; None where that is suppressed."""
    missed = tables.missed_share
    if missed is None or missed not in published:
        return None
    counts = tables.tables.true_counts
    return round_share(1 - round_share(counts[missed.names[0]] / counts[IN_NEED,]))


def _finding(
    judged: ComparisonVerdict,
    tables: PublicationTables,
    published: set[TableCell],
    policy: Policy,
) -> Finding:
    figure, verdict = judged.comparison, judged.verdict
    number = tables.numbers.get((figure.check, figure.item, figure.attribute, figure.value))
    n = None
    if number is not None and number in published:
        n = round_count(tables.tables.true_counts[number.names[0]])
    counts = policy.counts(figure.check, figure.attribute)
    does = consequence(verdict, policy.checks[figure.check], counts)
    if (
        does is Consequence.ASKS
        and verdict is Verdict.CANNOT_TELL
        and INTERSECTION_SEPARATOR in figure.attribute
    ):
        does = Consequence.SHOWS
    return Finding(
        figure.check,
        figure.item,
        figure.attribute,
        figure.value,
        verdict,
        does,
        counts,
        n,
        why="" if judged.sufficient_data else TOO_FEW,
        **_published_figures(judged, tables.shares, published, policy),
    )


def _published_figures(
    judged: ComparisonVerdict,
    shares: Mapping[tuple[FindingKey, bool], TableCell | None],
    published: set[TableCell],
    policy: Policy,
) -> dict[str, float | None]:
    """The group's rate, that of all others, the gap and its interval, as far as they may be
    published.
    """
    figure, check = judged.comparison, CHECKS[judged.comparison.check]
    own, rest, is_share = _publishable_rates(figure, shares, published, policy)
    digits = 1 if check.unit == "points" else 2
    rate, others_rate = (
        _rounded_rate(figure.check, exact, digits) if publishable and math.isfinite(exact) else None
        for publishable, exact in ((own, figure.rate), (rest, figure.others_rate))
    )
    figures = {"rate": rate, "others_rate": others_rate, "gap": None, "lower": None, "upper": None}
    comparable = others_rate is not None or figure.contrast == "mean"
    if not judged.sufficient_data or rate is None or not comparable:
        return figures
    gap = figure.gap
    if is_share and not check.stratified:
        gap = _rounded_gap(figure, rate, others_rate)
    lower, upper = (_moved(end, gap, figure) for end in figure.interval(policy.confidence))
    return figures | {
        name: round(value, digits) + 0.0 if math.isfinite(value) else None
        for name, value in {"gap": gap, "lower": lower, "upper": upper}.items()
    }


def _publishable_rates(
    figure: GroupComparison,
    shares: Mapping[tuple[FindingKey, bool], TableCell | None],
    published: set[TableCell],
    policy: Policy,
) -> tuple[bool, bool, bool]:
    """Whether the group's rate may be published, that of all others, and whether they are cells of
    the linked tables; of what is no cell, such as a mean, the number of students decides.
    """
    key = figure.check, figure.item, figure.attribute, figure.value
    if (key, True) in shares:
        return shares[key, True] in published, shares[key, False] in published, True
    own, rest = (
        rows >= policy.fewest_in_need and smallest >= policy.smallest_cell
        for rows, smallest in (
            (figure.rows, figure.smallest_cell),
            (figure.others_size, figure.others_smallest_cell),
        )
    )
    return own, rest, False


def _rounded_rate(check: str, rate: float, digits: int) -> float:
    """A rate as it is published; one that complements another is worked out from that one."""
    return (
        round_share(1 - round_share(1 - rate))
        if check == COMPLEMENT_OF_MISSED
        else round(rate, digits)
    )


def _rounded_gap(figure: GroupComparison, rate: float, others_rate: float | None) -> float:
    """The gap of the shares as they are published."""
    if not others_rate or not rate:
        return figure.gap
    return rate / others_rate if figure.contrast == "ratio" else rate - others_rate


def _moved(end: float, gap: float, figure: GroupComparison) -> float:
    """An end of the exact gap's interval, moved with the gap to where that is published."""
    if figure.contrast == "ratio" and figure.gap:
        return end * gap / figure.gap
    return end + gap - figure.gap


def _nothing_recorded(name: str, policy: Policy) -> Finding:
    """The finding of an attribute that is recorded for no student."""
    counts = policy.counts("missed", name)
    return Finding(
        check="missed",
        item="",
        attribute=name,
        value=NOT_RECORDED,
        verdict=Verdict.CANNOT_TELL,
        does=consequence(Verdict.CANNOT_TELL, policy.checks["missed"], counts),
        counts=counts,
        n=None,
        rate=None,
        others_rate=None,
        gap=None,
        lower=None,
        upper=None,
        why=NOTHING_RECORDED,
    )
