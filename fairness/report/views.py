"""An audit as a reader meets it: what must be answered, a table of verdicts, charts' numbers, and
details by check.

The report's page, its PDF and the site's pages are all built from here, so that they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from fairness.audit.audit import Audit
from fairness.audit.mitigation import TradeoffCurve
from fairness.checks.checks import CHECKS, INTERSECTION_SEPARATOR, Check
from fairness.checks.policy_file import Consequence
from fairness.gate.findings import TOO_FEW, Finding
from fairness.gate.gate import Verdict, worst_verdict
from fairness.measures.proxies import ALL_FAMILIES
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
"""One color step of a heat table: two percentage points."""
GAP_TOLERANCE = 0.02
"""A gap that differs by this much between two audits counts as changed."""
_MAX_STEP = 4
_MAX_SENTENCES = 12
"""Sentences of one check that are written out; of the rest only the number is given."""


@dataclass(frozen=True)
class ReviewQuestion:
    """What one check stops or asks: its title and a sentence for each group."""

    title: str
    question: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class VerdictCell:
    """One check by one attribute: the worst verdict over its groups that count; None where the
    audit compared none.

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
    """How well each family of inputs predicts one group fact, as text, and whether it is strong."""

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
    """One group in two audits. A verdict is None where that audit did not compare it.

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
        reported: of what is only shown, what has changed or does not pass.
        alike: what passes in both and has not changed.
    """

    facts: tuple[tuple[str, str, str], ...]
    changed: FindingsByCheck
    unresolved: FindingsByCheck
    reported: FindingsByCheck
    alike: FindingsByCheck


def audit_summary(audit: Audit) -> str:
    """An audit in a few sentences."""
    parts = [
        f"{'Few' if audit.students is None else f'About {audit.students:,}'} students are enrolled"
    ]
    if audit.in_need is not None:
        parts[0] += (
            f"; about {audit.in_need:,} are in need: an early alert on attendance or marks says to"
            " look soon or to act now"
        )
    if audit.doubted_schools:
        parts.append(_left_out(audit))
    if audit.helped is not None:
        parts.append(
            f"Of these, {format_rate(audit.helped)} take part in a support or have a suggestion"
        )
    answers = answer_counts(audit)
    parts.append(
        f"Each group was compared with all others in {len(_by_check(audit.findings))} ways,"
        f" {audit.comparisons:,} figures in all. Of the {answers['of']:,} that count,"
        f" {answers['pass']:,} passed and {answers['fail']:,} failed; of the others there is too"
        " little to tell"
    )
    if not audit.behavior:
        parts.append("Discipline is not an input of this version, so it can sway no suggestion")
    return ". ".join(parts) + "."


def review_questions(findings: Sequence[Finding]) -> list[ReviewQuestion]:
    """Findings as questions, a check at a time, single groups before two at once; groups too small
    to judge together, at the end.
    """
    too_few = [finding for finding in findings if finding.why == TOO_FEW]
    by_check: dict[str, list[Finding]] = {}
    for (check, _), check_findings in _by_check(
        [finding for finding in findings if finding.why != TOO_FEW]
    ).items():
        by_check.setdefault(check, []).extend(check_findings)
    return [
        *(_question(check, check_findings) for check, check_findings in by_check.items()),
        *_too_few_question(too_few),
    ]


def _question(check: str, findings: Sequence[Finding]) -> ReviewQuestion:
    """One check's question: what it is about stands in the title where that is one thing, else
    before each group.
    """
    items = dict.fromkeys(finding.item for finding in findings)
    only_item = next(iter(items)) if len(items) == 1 else ""
    in_order = sorted(findings, key=lambda finding: finding.is_intersection)
    lines = [
        f"{capital(item_label(item))}. {line}" if item != only_item else line
        for item in items
        for line in sentences([finding for finding in in_order if finding.item == item])
    ]
    return ReviewQuestion(check_label(check, only_item), CHECKS[check].question, _shortened(lines))


def _too_few_question(findings: Sequence[Finding]) -> Iterator[ReviewQuestion]:
    """One question of all groups that are too small, each with the checks that cannot be answered
    for it.
    """
    groups: dict[str, list[str]] = {}
    for finding in findings:
        groups.setdefault(value_label(finding.attribute, finding.value), []).append(
            check_label(finding.check, finding.item)
        )
    if groups:
        lines = [f"{group}: {', '.join(checks)}." for group, checks in groups.items()]
        question = (
            "Figures alone cannot say whether these students are treated alike. What else is known"
            " of them?"
        )
        yield ReviewQuestion("Too few students to judge", question, _shortened(lines))


def _shortened(lines: Sequence[str]) -> tuple[str, ...]:
    """The first sentences, and how many more there are."""
    more = (
        [f"And {len(lines) - _MAX_SENTENCES} more, below."] if len(lines) > _MAX_SENTENCES else []
    )
    return (*lines[:_MAX_SENTENCES], *more)


def grid(audit: Audit) -> Grid:
    """Verdicts at a glance."""
    attributes = list(dict.fromkeys(finding.attribute for finding in audit.findings))
    rows = []
    for (check, item), check_findings in _by_check(audit.findings).items():
        cells = []
        for attribute in attributes:
            cell_findings = [
                finding for finding in check_findings if finding.attribute == attribute
            ]
            counted = [finding for finding in cell_findings if finding.counts] or cell_findings
            cells.append(
                VerdictCell(
                    worst_verdict(finding.verdict for finding in counted)
                    if cell_findings
                    else None,
                    any(finding.counts for finding in cell_findings),
                    _table_name(check, item, attribute),
                    tuple(_notes(counted)),
                )
            )
        rows.append((check_label(check, item), _check_name(check, item), tuple(cells)))
    return Grid(tuple(attribute_label(name) for name in attributes), tuple(rows))


def _notes(findings: Sequence[Finding]) -> Iterator[str]:
    """What stands under a verdict of the grid."""
    passed = sum(finding.verdict is Verdict.PASS for finding in findings)
    if len(findings) > 1 and passed < len(findings):
        yield f"{passed} of {len(findings)} passed"
    if findings and not any(finding.counts for finding in findings):
        yield "not counted"


def heat_tables(audit: Audit, check: str = "missed") -> Iterator[HeatTable]:
    """Each intersection of two groups as a table of colors."""
    intersections = dict.fromkeys(
        finding.attribute for finding in audit.findings if finding.is_intersection
    )
    for attribute in intersections:
        row_attribute, column_attribute = attribute.split(INTERSECTION_SEPARATOR)
        by_value = {
            finding.value: finding
            for finding in audit.findings
            if finding.attribute == attribute and finding.check == check
        }
        pairs = [value.split(INTERSECTION_SEPARATOR) for value in by_value]
        row_values = list(dict.fromkeys(pair[0] for pair in pairs))
        column_values = sorted({pair[1] for pair in pairs})
        rows = tuple(
            (
                value_label(row_attribute, row_value),
                tuple(
                    _heat_cell(by_value.get(row_value + INTERSECTION_SEPARATOR + column_value))
                    for column_value in column_values
                ),
            )
            for row_value in row_values
        )
        yield HeatTable(
            f"{attribute_label(row_attribute)} and {attribute_label(column_attribute).lower()}",
            tuple(value_label(column_attribute, value) for value in column_values),
            rows,
        )


def details(audit: Audit) -> list[Detail]:
    """Every check with every group."""
    details_by_check = []
    for (name, item), check_findings in _by_check(audit.findings).items():
        tables = []
        for attribute in dict.fromkeys(finding.attribute for finding in check_findings):
            lines = tuple(
                _group_row(finding) for finding in check_findings if finding.attribute == attribute
            )
            tables.append(
                GroupTable(
                    _table_name(name, item, attribute),
                    attribute_label(attribute),
                    any(line.counts for line in lines),
                    lines,
                )
            )
        details_by_check.append(
            Detail(
                CHECKS[name],
                _check_name(name, item),
                check_label(name, item),
                _threshold_text(audit, name),
                tuple(tables),
            )
        )
    return details_by_check


def proxy_rows(audit: Audit) -> tuple[list[str], list[ProxyRow]]:
    """How well the inputs predict each group fact: the families, and a row for each fact."""
    families = list(
        dict.fromkeys(proxy.family for proxy in audit.proxies if proxy.family != ALL_FAMILIES)
    )
    strong = audit.policy["strong_proxy"]
    rows = []
    for attribute in dict.fromkeys(proxy.attribute for proxy in audit.proxies):
        by_family = {proxy.family: proxy for proxy in audit.proxies if proxy.attribute == attribute}
        cells = []
        for family in (*families, ALL_FAMILIES):
            proxy = by_family.get(family)
            cells.append(
                ("not checked", False)
                if proxy is None
                else (
                    f"{proxy.auc:.2f} ({proxy.lower:.2f} to {proxy.upper:.2f})",
                    proxy.auc >= strong,
                )
            )
        rows.append(ProxyRow(attribute_label(attribute), tuple(cells)))
    return [family.replace("_", " ").capitalize() for family in families] + ["All together"], rows


def tradeoff_tables(audit: Audit) -> list[TradeoffTable]:
    """The ways to mend what stops a model: one for each attribute that does."""
    by_attribute: dict[str, list[TradeoffCurve]] = {}
    for curve in audit.curves:
        if curve.points:
            by_attribute.setdefault(curve.points[0].worst_group[0], []).append(curve)
    tables = []
    for attribute, curves in by_attribute.items():
        numbers, ways = count(1), []
        for curve in curves:
            options = tuple(
                TradeoffOption(
                    next(numbers),
                    setting_label(point.setting),
                    point.captured,
                    point.worst_gap,
                    value_label(*point.worst_group),
                    point.helped,
                )
                for point in curve.points
            )
            ways.append((METHOD_LABELS[curve.way], curve.applies, options))
        tables.append(TradeoffTable(attribute_label(attribute), tuple(ways)))
    return tables


def compare_audits(first: Audit, second: Audit) -> AuditComparison:
    """Compare two audits: of two versions, or of one version at two times."""
    first_findings, second_findings = (
        {_finding_key(finding): finding for finding in audit.findings} for audit in (first, second)
    )
    by_check: dict[tuple[str, str], list[ComparedFinding]] = {}
    for findings in _by_check([*second.findings, *first.findings]).values():
        for key in dict.fromkeys(map(_finding_key, findings)):
            pair = _compared_finding(first_findings.get(key), second_findings.get(key))
            by_check.setdefault(key[:2], []).append(pair)

    def where(condition: Callable[[ComparedFinding], bool]) -> FindingsByCheck:
        by_title = (
            (check_label(*check), tuple(filter(condition, pairs)))
            for check, pairs in by_check.items()
        )
        return tuple((title, pairs) for title, pairs in by_title if pairs)

    return AuditComparison(
        _comparison_facts(first, second),
        changed=where(lambda pair: pair.counts and pair.changed),
        unresolved=where(lambda pair: pair.counts and not pair.changed and not pair.passed),
        reported=where(lambda pair: not pair.counts and (pair.changed or not pair.passed)),
        alike=where(lambda pair: pair.passed and not pair.changed),
    )


def answer_counts(audit: Audit) -> Mapping[str, int]:
    """How many answers block, ask, pass and fail."""
    judged = [finding for finding in audit.findings if finding.counts]
    return {
        "stop": len(audit.stopping),
        "ask": len(audit.asking),
        "pass": sum(finding.verdict is Verdict.PASS for finding in judged),
        "fail": sum(finding.verdict is Verdict.FAIL for finding in judged),
        "of": len(judged),
    }


def _format_count(students: int | None) -> str:
    return "not shown" if students is None else f"{students:,}"


def _by_check(findings: Sequence[Finding]) -> dict[tuple[str, str], list[Finding]]:
    order = list(CHECKS)
    by_check: dict[tuple[str, str], list[Finding]] = {}
    for finding in sorted(findings, key=lambda finding: (order.index(finding.check), finding.item)):
        by_check.setdefault((finding.check, finding.item), []).append(finding)
    return by_check


def _finding_key(finding: Finding) -> tuple[str, str, str, str]:
    return finding.check, finding.item, finding.attribute, finding.value


def _check_name(check: str, item: str) -> str:
    return f"{check}-{item}".strip("-")


def _table_name(check: str, item: str, attribute: str) -> str:
    return f"{_check_name(check, item)}-{attribute.replace(INTERSECTION_SEPARATOR, '-')}"


def _compared_finding(first: Finding | None, second: Finding | None) -> ComparedFinding:
    newest = second or first
    assert newest is not None
    both = (first, second)
    gaps = [None if finding is None else finding.gap for finding in both]
    change = None if gaps[0] is None or gaps[1] is None else round(gaps[1] - gaps[0], 2)
    verdicts = [None if finding is None else finding.verdict for finding in both]
    changed = verdicts[0] is not verdicts[1] or (
        change is not None and abs(change) >= GAP_TOLERANCE
    )
    group = value_label(newest.attribute, newest.value)
    if newest.value == NOT_RECORDED:
        group = f"{attribute_label(newest.attribute)}: {group.lower()}"
    formatted = ["not checked" if finding is None else format_gap(finding) for finding in both]
    return ComparedFinding(
        group,
        first=formatted[0],
        second=formatted[1],
        first_verdict=verdicts[0],
        second_verdict=verdicts[1],
        difference=format_gap_change(newest.check, change),
        counts=any(finding is not None and finding.counts for finding in both),
        changed=changed,
        passed=verdicts == [Verdict.PASS, Verdict.PASS],
    )


def _left_out(audit: Audit) -> str:
    """Who is not counted as in need, because figures of their school are doubted."""
    number = audit.doubted_students
    who = "Students" if number is None else f"About {number:,} students"
    labels = sorted({category.value.replace("_", " ") for _, category in audit.doubted})
    return (
        f"{who} at {', '.join(audit.doubted_schools)} are left out of those in need where that"
        f" rests on {' or '.join(labels)}: figures of their school looked unusual, and the district"
        " had not said that they are right"
    )


def _comparison_facts(first: Audit, second: Audit) -> tuple[tuple[str, str, str], ...]:
    first_facts, second_facts = _audit_facts(first), _audit_facts(second)
    return tuple((label, fact, second_facts[label]) for label, fact in first_facts.items())


def _audit_facts(audit: Audit) -> Mapping[str, str]:
    judged = answer_counts(audit)
    return {
        "Verdict": VERDICT_LABELS[audit.verdict],
        "Audited": f"{audit.at:%Y-%m-%d at %H:%M}",
        "Records as of": f"{audit.as_of}",
        "Students enrolled, about": _format_count(audit.students),
        "In need, about": _format_count(audit.in_need),
        "Of these with a support or a suggestion": format_rate(audit.helped),
        "Answers that block it": f"{len(audit.stopping):,}",
        "Questions for the reviewer": f"{len(audit.asking):,}",
        "Answers that count and passed": f"{judged['pass']:,} of {judged['of']:,}",
        "Discipline is an input": "yes" if audit.behavior else "no",
        "Policy": audit.policy_sha256[:12],
    }


def _heat_cell(finding: Finding | None) -> HeatCell:
    if finding is None or finding.gap is None:
        return HeatCell("not shown", 0, "not shown")
    step = max(-_MAX_STEP, min(_MAX_STEP, round(finding.gap / HEAT)))
    words = "missed more often" if step > 0 else "missed less often" if step < 0 else "as often"
    return HeatCell(format_points(finding.gap), step, words)


def _group_row(finding: Finding) -> GroupRow:
    unit = CHECKS[finding.check].unit
    rate, others = format_rate(finding.rate, unit), format_rate(finding.others_rate, unit)
    return GroupRow(
        value_label(finding.attribute, finding.value),
        _format_count(finding.n),
        rate,
        others,
        format_gap(finding),
        finding.verdict,
        finding.counts,
        finding.why,
    )


def _threshold_text(audit: Audit, name: str) -> str:
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
        Consequence.STOPS: "blocks this version",
        Consequence.ASKS: "asks for a written reason",
        Consequence.SHOWS: "is shown",
    }
    return (
        f"Fails at {limit}: {follows[Consequence(entry['fails'])]}. Passes where {passing}."
        f" Otherwise it cannot tell: {follows[Consequence(entry['unsure'])]}. Source:"
        f" {entry['source']}."
    )
