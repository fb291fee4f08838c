"""An audit as a reader meets it: what must be answered, a table of verdicts, charts' numbers, and
details by check.

The report's page, its PDF and the site's pages are all made of these, so that they say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from fairness.audit.audit import Audit
from fairness.audit.mitigation import TradeoffCurve
from fairness.gate.findings import TOO_FEW, Finding
from fairness.gate.gate import Verdict, worst_verdict
from fairness.measures.proxies import ALL_FAMILIES
from fairness.policy.checks import CHECKS, INTERSECTION_SEPARATOR, Check
from fairness.policy.policy_file import Consequence
from fairness.population.comparisons import NOT_RECORDED
from fairness.report.wording import (
    METHOD_LABELS,
    VERDICT_LABELS,
    attribute_label,
    capital,
    check_label,
    format_gap,
    format_gap_change,
    format_points,
    format_rate,
    item_label,
    sentences,
    setting_label,
    value_label,
)

HEAT = 0.02
"""A step of a heat table's colour: two points of a hundred."""
GAP_TOLERANCE = 0.02
"""Two audits are told apart where a gap differs by so much."""
_STEPS = 4
_LED = 12
"""Sentences of one check that are written out before the rest is counted."""


@dataclass(frozen=True)
class ReviewQuestion:
    """What one check stops or asks: its title and a sentence for each group."""

    title: str
    question: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class VerdictCell:
    """One check by one attribute: the worst verdict over its groups that count; None where nothing
    was asked.

    Attributes:
        table: the name of the table with its groups.
        notes: how many of these groups passed where not all did, and that it does not count where
            it does not.
    """

    verdict: Verdict | None
    counts: bool
    table: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """Verdicts at a glance: a column an attribute, a row a check with its title and the name of its
    tables.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[VerdictCell, ...]], ...]


@dataclass(frozen=True)
class HeatCell:
    """A cell of a heat table: its words and a step from -4 (helped more) to 4 (helped less)."""

    text: str
    step: int
    words: str


@dataclass(frozen=True)
class HeatTable:
    """Two groups at once: how many more points are missed than of all others."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]


@dataclass(frozen=True)
class GroupRow:
    """One group in the table of a check."""

    group: str
    n: str
    rate: str
    others: str
    gap: str
    verdict: Verdict
    counts: bool
    why: str


@dataclass(frozen=True)
class GroupTable:
    """A check's groups by one attribute."""

    name: str
    title: str
    counts: bool
    lines: tuple[GroupRow, ...]


@dataclass(frozen=True)
class Detail:
    """A check with all its groups, by attribute."""

    check: Check
    name: str
    title: str
    threshold: str
    tables: tuple[GroupTable, ...]


@dataclass(frozen=True)
class ProxyRow:
    """How well each family of inputs tells of one group fact: words, and whether it is strong."""

    attribute: str
    cells: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class TradeoffOption:
    """A point of a trade curve: its number in table and chart, what is chosen, and what it would
    bring.
    """

    number: int
    setting: str
    captured: float
    worst_gap: float | None
    whose: str
    helped: float | None


@dataclass(frozen=True)
class TradeoffTable:
    """Every way to mend what one attribute stops: its title, how it would be applied, and its
    choices.
    """

    title: str
    ways: tuple[tuple[str, str, tuple[TradeoffOption, ...]], ...]


@dataclass(frozen=True)
class ComparedFinding:
    """One group in two audits. A verdict is None where the audit did not ask.

    `changed`: whether the verdict is another or the gap differs by `GAP_TOLERANCE` or more;
    `passed`: whether both pass it.
    """

    group: str
    first: str
    second: str
    first_verdict: Verdict | None
    second_verdict: Verdict | None
    difference: str
    counts: bool
    changed: bool
    passed: bool


FindingsByCheck = tuple[tuple[str, tuple[ComparedFinding, ...]], ...]
"""Pairs by the title of their check."""


@dataclass(frozen=True)
class AuditComparison:
    """Two audits: what each says as a whole, and their gaps.

    Attributes:
        changed, unresolved: of what counts in the verdict, what has changed, and what has not but
            does not pass.
        reported: the same of what is only shown.
        alike: what passes in both and has not changed.
    """

    facts: tuple[tuple[str, str, str], ...]
    changed: FindingsByCheck
    unresolved: FindingsByCheck
    reported: FindingsByCheck
    alike: FindingsByCheck


def audit_summary(audit: Audit) -> str:
    """An audit in a few sentences."""
    said = [
        f"{'Few' if audit.students is None else f'About {audit.students:,}'} students are enrolled"
    ]
    if audit.in_need is not None:
        said[0] += (
            f"; about {audit.in_need:,} are in need: an early alert on attendance or marks says to"
            " look soon or to act now"
        )
    if audit.helped is not None:
        said.append(
            f"Of these, {format_rate(audit.helped)} take part in a support or have a suggestion"
        )
    told = answer_counts(audit)
    said.append(
        f"Each group was compared with all others in {len(_by_check(audit.findings))} ways,"
        f" {audit.comparisons:,} figures in all. Of the {told['of']:,} that count, {told['pass']:,}"
        f" passed and {told['fail']:,} failed; of the others there is too little to tell"
    )
    if not audit.behavior:
        said.append("Discipline is not an input of this version, so it can sway no suggestion")
    return ". ".join(said) + "."


def review_questions(findings: Sequence[Finding]) -> list[ReviewQuestion]:
    """Findings as questions, a check at a time, single groups before two at once; groups too small
    to judge together, at the end.
    """
    small = [one for one in findings if one.why == TOO_FEW]
    found: dict[str, list[Finding]] = {}
    for (check, _), some in _by_check([one for one in findings if one.why != TOO_FEW]).items():
        found.setdefault(check, []).extend(some)
    return [*(_question(check, some) for check, some in found.items()), *_too_small(small)]


def _question(check: str, findings: Sequence[Finding]) -> ReviewQuestion:
    """One check's question: what it is about stands in the title where that is one thing, else
    before each group.
    """
    items = dict.fromkeys(one.item for one in findings)
    alone = next(iter(items)) if len(items) == 1 else ""
    in_order = sorted(findings, key=lambda one: one.is_intersection)
    said = [
        f"{capital(item_label(item))}. {one}" if item != alone else one
        for item in items
        for one in sentences([one for one in in_order if one.item == item])
    ]
    return ReviewQuestion(check_label(check, alone), CHECKS[check].question, _led(said))


def _too_small(findings: Sequence[Finding]) -> Iterator[ReviewQuestion]:
    """One question of all groups that are too small, each with the checks that cannot be answered
    for it.
    """
    groups: dict[str, list[str]] = {}
    for one in findings:
        groups.setdefault(value_label(one.attribute, one.value), []).append(
            check_label(one.check, one.item)
        )
    if groups:
        said = [f"{group}: {', '.join(checks)}." for group, checks in groups.items()]
        question = (
            "Figures alone cannot say whether these students are treated alike. What else is known"
            " of them?"
        )
        yield ReviewQuestion("Too few students to judge", question, _led(said))


def _led(said: Sequence[str]) -> tuple[str, ...]:
    """The first sentences, and how many more there are."""
    more = [f"And {len(said) - _LED} more, below."] if len(said) > _LED else []
    return (*said[:_LED], *more)


def grid(audit: Audit) -> Grid:
    """Verdicts at a glance."""
    attributes = list(dict.fromkeys(one.attribute for one in audit.findings))
    rows = []
    for (check, item), some in _by_check(audit.findings).items():
        cells = []
        for attribute in attributes:
            here = [one for one in some if one.attribute == attribute]
            counted = [one for one in here if one.counts] or here
            cells.append(
                VerdictCell(
                    worst_verdict(one.verdict for one in counted) if here else None,
                    any(one.counts for one in here),
                    _table(check, item, attribute),
                    tuple(_notes(counted)),
                )
            )
        rows.append((check_label(check, item), _name(check, item), tuple(cells)))
    return Grid(tuple(attribute_label(name) for name in attributes), tuple(rows))


def _notes(findings: Sequence[Finding]) -> Iterator[str]:
    """What stands under a verdict of the grid."""
    passed = sum(one.verdict is Verdict.PASS for one in findings)
    if len(findings) > 1 and passed < len(findings):
        yield f"{passed} of {len(findings)} passed"
    if findings and not any(one.counts for one in findings):
        yield "not counted"


def heat_tables(audit: Audit, check: str = "missed") -> Iterator[HeatTable]:
    """Each intersection of two groups as a table of colours."""
    for attribute in dict.fromkeys(one.attribute for one in audit.findings if one.is_intersection):
        one, two = attribute.split(INTERSECTION_SEPARATOR)
        found = {
            one.value: one
            for one in audit.findings
            if one.attribute == attribute and one.check == check
        }
        parts = [value.split(INTERSECTION_SEPARATOR) for value in found]
        columns = list(dict.fromkeys(part[1] for part in sorted(parts, key=lambda part: part[1])))
        rows = tuple(
            (
                value_label(one, value),
                tuple(
                    _warm(found.get(value + INTERSECTION_SEPARATOR + other)) for other in columns
                ),
            )
            for value in dict.fromkeys(part[0] for part in parts)
        )
        yield HeatTable(
            f"{attribute_label(one)} and {attribute_label(two).lower()}",
            tuple(value_label(two, other) for other in columns),
            rows,
        )


def details(audit: Audit) -> list[Detail]:
    """Every check with every group."""
    found = []
    for (name, item), some in _by_check(audit.findings).items():
        tables = []
        for attribute in dict.fromkeys(one.attribute for one in some):
            lines = tuple(_line(one) for one in some if one.attribute == attribute)
            tables.append(
                GroupTable(
                    _table(name, item, attribute),
                    attribute_label(attribute),
                    any(line.counts for line in lines),
                    lines,
                )
            )
        found.append(
            Detail(
                CHECKS[name],
                _name(name, item),
                check_label(name, item),
                _threshold(audit, name),
                tuple(tables),
            )
        )
    return found


def proxy_rows(audit: Audit) -> tuple[list[str], list[ProxyRow]]:
    """What the inputs tell of each group fact: the families, and a row a fact."""
    families = list(
        dict.fromkeys(one.family for one in audit.proxies if one.family != ALL_FAMILIES)
    )
    strong = audit.policy["strong_proxy"]
    rows = []
    for attribute in dict.fromkeys(one.attribute for one in audit.proxies):
        found = {one.family: one for one in audit.proxies if one.attribute == attribute}
        cells = []
        for family in (*families, ALL_FAMILIES):
            one = found.get(family)
            cells.append(
                ("not asked", False)
                if one is None
                else (f"{one.auc:.2f} ({one.lower:.2f} to {one.upper:.2f})", one.auc >= strong)
            )
        rows.append(ProxyRow(attribute_label(attribute), tuple(cells)))
    return [family.replace("_", " ").capitalize() for family in families] + ["All together"], rows


def tradeoff_tables(audit: Audit) -> list[TradeoffTable]:
    """The ways to mend what stops a model: one for each attribute that does."""
    by_attribute: dict[str, list[TradeoffCurve]] = {}
    for curve in audit.curves:
        if curve.points:
            by_attribute.setdefault(curve.points[0].worst_group[0], []).append(curve)
    found = []
    for attribute, curves in by_attribute.items():
        numbers, ways = count(1), []
        for curve in curves:
            choices = tuple(
                TradeoffOption(
                    next(numbers),
                    setting_label(one.setting),
                    one.captured,
                    one.worst_gap,
                    value_label(*one.worst_group),
                    one.helped,
                )
                for one in curve.points
            )
            ways.append((METHOD_LABELS[curve.way], curve.applies, choices))
        found.append(TradeoffTable(attribute_label(attribute), tuple(ways)))
    return found


def compare_audits(first: Audit, second: Audit) -> AuditComparison:
    """Two audits beside each other: of two versions, or of one at two times."""
    found = [
        {(one.check, one.item, one.attribute, one.value): one for one in audit.findings}
        for audit in (first, second)
    ]
    pairs: dict[tuple[str, str], list[ComparedFinding]] = {}
    for group in _by_check([*second.findings, *first.findings]).values():
        for key in dict.fromkeys((one.check, one.item, one.attribute, one.value) for one in group):
            pairs.setdefault(key[:2], []).append(_pair(*(one.get(key) for one in found)))

    def kept(which: Callable[[ComparedFinding], bool]) -> FindingsByCheck:
        by_title = (
            (check_label(*check), tuple(filter(which, some))) for check, some in pairs.items()
        )
        return tuple((title, some) for title, some in by_title if some)

    return AuditComparison(
        _facts(first, second),
        changed=kept(lambda one: one.counts and one.changed),
        unresolved=kept(lambda one: one.counts and not one.changed and not one.passed),
        reported=kept(lambda one: not one.counts and (one.changed or not one.passed)),
        alike=kept(lambda one: one.passed and not one.changed),
    )


def answer_counts(audit: Audit) -> Mapping[str, int]:
    """How many answers stop, ask, pass and fail."""
    judged = [one for one in audit.findings if one.counts]
    return {
        "stop": len(audit.stopping),
        "ask": len(audit.asking),
        "pass": sum(one.verdict is Verdict.PASS for one in judged),
        "fail": sum(one.verdict is Verdict.FAIL for one in judged),
        "of": len(judged),
    }


def _count(students: int | None) -> str:
    return "not shown" if students is None else f"{students:,}"


def _by_check(findings: Sequence[Finding]) -> dict[tuple[str, str], list[Finding]]:
    order = list(CHECKS)
    found: dict[tuple[str, str], list[Finding]] = {}
    for one in sorted(findings, key=lambda one: (order.index(one.check), one.item)):
        found.setdefault((one.check, one.item), []).append(one)
    return found


def _name(check: str, item: str) -> str:
    return f"{check}-{item}".strip("-")


def _table(check: str, item: str, attribute: str) -> str:
    return f"{_name(check, item)}-{attribute.replace(INTERSECTION_SEPARATOR, '-')}"


def _pair(first: Finding | None, second: Finding | None) -> ComparedFinding:
    one = second or first
    assert one is not None
    gaps = [None if found is None else found.gap for found in (first, second)]
    change = None if gaps[0] is None or gaps[1] is None else round(gaps[1] - gaps[0], 2)
    verdicts = [None if found is None else found.verdict for found in (first, second)]
    changed = verdicts[0] is not verdicts[1] or (
        change is not None and abs(change) >= GAP_TOLERANCE
    )
    group = value_label(one.attribute, one.value)
    if one.value == NOT_RECORDED:
        group = f"{attribute_label(one.attribute)}: {group.lower()}"
    said = ["not asked" if found is None else format_gap(found) for found in (first, second)]
    return ComparedFinding(
        group,
        said[0],
        said[1],
        verdicts[0],
        verdicts[1],
        format_gap_change(one.check, change),
        any(found is not None and found.counts for found in (first, second)),
        changed,
        verdicts == [Verdict.PASS, Verdict.PASS],
    )


def _facts(first: Audit, second: Audit) -> tuple[tuple[str, str, str], ...]:
    told = [_said_as_a_whole(audit) for audit in (first, second)]
    return tuple((label, said, told[1][label]) for label, said in told[0].items())


def _said_as_a_whole(audit: Audit) -> Mapping[str, str]:
    judged = answer_counts(audit)
    return {
        "Verdict": VERDICT_LABELS[audit.verdict],
        "Audited": f"{audit.at:%Y-%m-%d at %H:%M}",
        "Records as of": f"{audit.as_of}",
        "Students enrolled, about": _count(audit.students),
        "In need, about": _count(audit.in_need),
        "Of these with a support or a suggestion": format_rate(audit.helped),
        "Answers that stop it": f"{len(audit.stopping):,}",
        "Questions for the reviewer": f"{len(audit.asking):,}",
        "Answers that count and passed": f"{judged['pass']:,} of {judged['of']:,}",
        "Discipline is an input": "yes" if audit.behavior else "no",
        "Policy": audit.policy_sha256[:12],
    }


def _warm(finding: Finding | None) -> HeatCell:
    if finding is None or finding.gap is None:
        return HeatCell("not shown", 0, "not shown")
    step = max(-_STEPS, min(_STEPS, round(finding.gap / HEAT)))
    words = "missed more often" if step > 0 else "missed less often" if step < 0 else "as often"
    return HeatCell(format_points(finding.gap), step, words)


def _line(finding: Finding) -> GroupRow:
    unit = CHECKS[finding.check].unit
    rate, others = format_rate(finding.rate, unit), format_rate(finding.others_rate, unit)
    return GroupRow(
        value_label(finding.attribute, finding.value),
        _count(finding.n),
        rate,
        others,
        format_gap(finding),
        finding.verdict,
        finding.counts,
        finding.why,
    )


def _threshold(audit: Audit, name: str) -> str:
    """What the policy asks of a check, in a sentence."""
    check, entry = CHECKS[name], audit.policy["checks"][name]
    if check.contrast == "ratio":
        limit = f"below {entry['beyond']:.2f} times, where chance does not explain it"
        passing = f"the whole interval is {entry['within']:.2f} times or more"
    else:
        unit, scale = ("progress points", 1) if check.unit == "points" else ("points", 100)
        limit = f"more than {entry['beyond'] * scale:g} {unit}, where chance does not explain it"
        passing = f"the whole interval is within {entry['within'] * scale:g} {unit}"
    follows = {
        Consequence.STOPS: "stops the model",
        Consequence.ASKS: "asks for a written reason",
        Consequence.SHOWS: "is shown",
    }
    return (
        f"Fails at {limit}: {follows[Consequence(entry['fails'])]}. Passes where {passing}."
        f" Otherwise it cannot tell: {follows[Consequence(entry['unsure'])]}. Source:"
        f" {entry['source']}."
    )
