"""From exact figures to what may be shown of them: rounded, and without any from which a small number would follow.

Numbers of students are rounded to ten and shares to whole percents. What must be withheld is found by trying to get at
the small numbers as an attacker would, by linear programming over everything that is shown (`disclosure_control`). The
verdicts are those of the exact figures. Gaps of plain shares are worked out from the rounded shares, and errors from
rounded numbers, so that they tell nothing beyond these.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
import pandas as pd

from fairness.checks import CHECKS, CROSS, MANY
from fairness.comparisons import NOT_RECORDED, Figure, Measure
from fairness.disclosure_control import Fact, Name, Published, protect
from fairness.gate import Judged, Verdict, consequence
from fairness.past import Rows
from fairness.policy import Consequence, Policy
from fairness.small_cells import about, percent
from training.benefit import Floats

Place = tuple[str, str, str, str, bool]
"""Check, item, attribute, value; and whether it is the group's own share or that of all others."""
TOO_FEW = "too_few"
NOTHING_RECORDED = "nothing_recorded"
LARGE_DISTRICT = 100
"""Students of a district whose number, rounded, is shown whatever follows from it: it is known to everybody."""
_HELPED = "suggestion"
"""The check whose share is what is left of another's, "missed"."""
_STUDENTS, _IN_NEED, _RECORDED = "students", "in_need", "recorded"
_SIZES = "sizes"


@dataclass(frozen=True)
class Group:
    """One group, as it may be shown: numbers rounded to ten; None where too small or where others would follow."""

    attribute: str
    value: str
    students: int | None
    in_need: int | None

    @property
    def crossed(self) -> bool:
        """Whether this is an intersection of two groups."""
        return CROSS in self.attribute


@dataclass(frozen=True)
class Finding:
    """The answer to one check for one group, as it may be shown.

    Attributes:
        rate, others_rate: shares in hundredths, or progress points in tenths, of the group and of all others.
        gap, lower, upper: how they compare, with its interval: hundredths, or tenths of a progress point.
        does: what follows from the verdict under the policy.
        counts: False where the policy only shows this group.
        why: empty, or the code of why nothing could be judged.
    """

    check: str
    item: str
    attribute: str
    value: str
    verdict: Verdict
    does: Consequence
    counts: bool
    rate: float | None
    others_rate: float | None
    gap: float | None
    lower: float | None
    upper: float | None
    why: str

    @property
    def crossed(self) -> bool:
        return CROSS in self.attribute


@dataclass(frozen=True)
class Shown:
    """What may be shown of an audit. `helped`: the share of all in need who have a support or a suggestion."""

    students: int | None
    in_need: int | None
    helped: float | None
    groups: tuple[Group, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Counted:
    """What an audit counts: the measures of the audited students, those of `others` rows such as decision days, and who
    is in need, 1 or 0 for each audited student."""

    table: Rows
    others: Sequence[Rows]
    in_need: Floats
    policy: Policy

    def of_students(self) -> Iterator[Measure]:
        """Every measure that counts students, of all audited students: who is in no other row is not asked about.

        Raises:
            ValueError: rows that count others cannot be protected.
        """
        everybody = self.table.groups.index
        for rows in (self.table, *self.others):
            where = everybody.get_indexer(rows.groups.index)
            for measure in (one for one in rows.measures if one.counts):
                if (where < 0).any():
                    raise ValueError(f"the rows of {measure.check} are not of the audited students")
                amount, out_of = np.zeros((2, len(everybody)))
                amount[where], out_of[where] = measure.amount, measure.out_of
                yield replace(measure, amount=amount, out_of=out_of, stratum=None)


def publish(judged: Sequence[Judged], counted: Counted,
            before: Sequence[tuple[Counted, Shown]] = ()) -> Shown:  # fmt: skip
    """What may be shown of judged figures.

    Args:
        before: what other audits of the same students counted, and what was shown of it. It is withheld no more, and
            nothing is shown from which, together with it, a small number would follow.
    """
    policy, whole = counted.policy, _Counts(counted)
    for earlier, known in before:
        _Counts(earlier, whole, known)
    shown = whole.published.facts - protect(whole.published, policy.smallest_cell)
    findings = [_finding(one, whole.shares, shown, policy) for one in judged]
    unknown = [_unknown(name, policy) for name in policy.groups if (whole.rows.groups[name] == NOT_RECORDED).all()]
    groups = []
    for attribute, value in whole.cells:
        sizes = [whole.published.true[name] if whole.size(name) in shown else None
                 for name in ((_STUDENTS, attribute, value), (_IN_NEED, attribute, value))]  # fmt: skip
        groups.append(Group(attribute, value, *(None if size is None else about(size) for size in sizes)))
    need = whole.published.true[_IN_NEED,]
    total, in_all = (about(whole.published.true[name,]) if whole.size((name,)) in shown else None
                     for name in (_STUDENTS, _IN_NEED))  # fmt: skip
    helped = whole.everybody
    missed = percent(whole.published.true[helped.names[0]] / need) if helped is not None and helped in shown else None
    share = None if missed is None else percent(1 - missed)
    return Shown(total, in_all, share, tuple(groups), (*unknown, *findings))


class _Counts:
    """The counts behind some measures, how they add up, and the facts that would be shown of them.

    Args:
        beside: counts of the same students by the audit that is being made now: these are declared with them.
        shown: what of these was shown already; None where that is to be found out.
    """

    def __init__(self, counted: Counted, beside: _Counts | None = None, shown: Shown | None = None) -> None:
        self.rows, self.policy = counted.table, counted.policy
        rows, policy = self.rows, self.policy
        self.published: Published = beside.published if beside else Published()
        self.already = None if shown is None else _Already.of(shown)
        self.fewest, self.smallest = policy.fewest_in_need, policy.smallest_cell
        self.codes = {name: pd.Categorical(rows.groups[name]) for name in rows.groups.columns}
        self.cells = [(name, value) for name, codes in self.codes.items() for value in sorted(codes.categories)]
        self.plain = {name for name in self.codes if CROSS not in name and name not in MANY}
        self.everybody: Fact | None = None
        """The share of all in need who are missed; None where that is all of them."""
        self.shares: dict[Place, Fact | None] = {}
        self.sizes: dict[Name, Fact] = {}
        self.wholes: list[tuple[str, Floats]] = []
        same = beside is None or beside.policy.need_severity == policy.need_severity
        self.need = _IN_NEED if same else f"in need from {policy.need_severity}"
        for name, values in ((_STUDENTS, np.ones(len(rows.groups))), (self.need, counted.in_need)):
            self._declare(name, values, list(self.codes))
            self.wholes.append((name, values))
        self._show_sizes()
        counts = list(counted.of_students())
        for measure in sorted(counts, key=lambda measure: not CHECKS[measure.check].everywhere):
            self._show(measure)
        self._nest(counts)

    def size(self, name: Name) -> Fact | None:
        return self.sizes.get(name)

    def _show_sizes(self) -> None:
        for name, _ in self.wholes:
            certain = name == _STUDENTS and len(self.rows.groups) >= LARGE_DISTRICT
            self._size((name,), _SIZES, 2, certain=certain)
            for attribute, value in self.cells:
                self._size((name, attribute, value), f"{_SIZES} by {attribute}", int(attribute in self.plain))

    def _size(self, name: Name, table: str, dear: int, *, certain: bool = False) -> None:
        if self.already is None or (name[0] == self.need, *name[1:]) in self.already.sizes:
            self.sizes[name] = self.published.rounded(name, table, certain=certain, dear=dear)
            self._keep(self.sizes[name])

    def _share(self, part: Name, whole: Name, table: str, dear: int, *, already: bool) -> Fact | None:
        """The share, where it is to be shown or was; nothing is shown now that another audit has not."""
        if self.already is not None and not already:
            self.published.split(part, whole)
            return None
        fact = self.published.share(part, whole, table, dear=dear)
        self._keep(fact)
        return fact

    def _keep(self, fact: Fact) -> None:
        if self.already is not None:
            self.published.shown_before(fact)

    def _show(self, measure: Measure) -> None:
        """Declare what a measure counts, and the shares that would be shown of it: of students enough to be judged.

        Who is helped is not missed: both are one share, and only one is shown, so that to withhold it is enough.
        """
        compared = [name for name in self.codes if CHECKS[measure.check].compares(name)]
        amount = measure.out_of - measure.amount if measure.check == _HELPED else measure.amount
        key, base = self._name(amount), self._name(measure.out_of)
        for part, whole, values in ((base, self._around(measure.out_of), measure.out_of), (key, base, amount)):
            if part != whole:
                for cell in self._declare(part, values, compared):
                    self.published.within(cell, (whole, *cell[1:]))
        table = f"{measure.check} {measure.item}".strip()
        if measure.check == _HELPED and key != base:
            self.everybody = self._share((key,), (base,), table, 2, already=bool(self.already and self.already.helped))
        for attribute, value in self.cells:
            if value == NOT_RECORDED or attribute not in compared:
                continue
            where, both = f"{table} by {attribute}", (value, _rest(value))
            dear = int(attribute in self.plain)
            told = key != base and all(
                self._enough((key, attribute, group), (base, attribute, group)) for group in both)
            for group, of_group in zip(both, (True, False), strict=True):
                place = measure.check, measure.item, attribute, value, of_group
                self.shares[place] = self._share(
                    (key, attribute, group), (base, attribute, group), where, dear,
                    already=bool(self.already and place in self.already.shares)) if told else None  # fmt: skip

    def _enough(self, part: Name, whole: Name) -> bool:
        """Whether a share may be shown at all. Where that of a group may not, nor is that of all others: what all have
        less that would give the group's away."""
        true = self.published.true
        size = true.get(whole, 0)
        return size >= self.fewest and min(true[part], size - true[part]) >= self.smallest

    def _nest(self, measures: Sequence[Measure]) -> None:
        """What every reader knows of counts of several checks: which lie within which, and which two make up a third.

        "Missed" and "with a support or a suggestion" make up those in need, who are students; and those who are not
        missed though a support is open to them are among those with a support or a suggestion.
        """
        counts = dict(self.wholes)
        for measure in measures:
            for values in (measure.out_of, measure.amount):
                counts.setdefault(self._name(values), values)
        for measure in measures:
            left = measure.out_of - measure.amount
            if any((left <= other).all() and not (measure.out_of <= other).all() for other in counts.values()):
                self._declare(self._name(left), left, [name for name in self.codes
                                                       if CHECKS[measure.check].compares(name)])  # fmt: skip
                counts.setdefault(self._name(left), left)
        inside = {(one, other) for one, other in permutations(counts, 2) if (counts[one] <= counts[other]).all()}
        for one, other in inside:
            if not any((one, between) in inside and (between, other) in inside for between in counts):
                for cell in self._cells_of(one, other):
                    self.published.within((one, *cell), (other, *cell))
        for measure in measures:
            part, whole, rest = (self._name(values) for values in (measure.amount, measure.out_of,
                                                                   measure.out_of - measure.amount))  # fmt: skip
            if rest in counts and len({part, whole, rest}) == 3:
                for cell in self._cells_of(part, whole, rest):
                    self.published.total((whole, *cell), [(part, *cell), (rest, *cell)])

    def _cells_of(self, *names: str) -> list[Name]:
        """The cells that are declared of all these counts."""
        cells = ({known[1:] for known in self.published.true
                  if known[0] == name and "but not" not in known} for name in names)
        return sorted(set.intersection(*cells))

    def _name(self, values: Floats) -> str:
        """Equal counts have one name, since whoever reads the report knows that they are the same."""
        digest = hashlib.sha256(values.tobytes()).hexdigest()
        known = {hashlib.sha256(part.tobytes()).hexdigest(): name for name, part in self.wholes}
        return known.get(digest, f"count {digest[:12]}")

    def _around(self, values: Floats) -> str:
        """The narrowest of the wholes that holds them."""
        return next(name for name, whole in reversed(self.wholes) if (values <= whole).all())

    def _declare(self, name: str, values: Floats, attributes: Sequence[str]) -> list[Name]:
        """Counts of one kind: in all, by each value of these attributes, and how they add up. Those that must lie
        within others are returned."""
        add = self.published
        found: list[Name] = [] if (name,) in add.true else [(name,)]
        add.count((name,), int(values.sum()))
        new = [attribute for attribute in attributes
               if not any((name, attribute, value) in add.true for value in self.codes[attribute].categories)]
        for attribute in new:
            codes = self.codes[attribute]
            sums = np.bincount(codes.codes, values, len(codes.categories))
            cells = {str(value): int(count) for value, count in zip(codes.categories, sums, strict=True)}
            for value, count in cells.items():
                add.count((name, attribute, value), count)
            add.total((name,), [(name, attribute, value) for value in cells])
            found += [(name, attribute, value) for value in cells]
            self._recorded(name, attribute, cells)
        for attribute in new:
            if CROSS in attribute:
                self._cross(name, attribute)
        return found

    def _recorded(self, name: str, attribute: str, cells: Mapping[str, int]) -> None:
        """All whose value is on record, and for each value all the others."""
        known = [value for value in cells if value != NOT_RECORDED]
        if len(known) < 2:
            return
        whole = (name, attribute, _RECORDED)
        self.published.count(whole, sum(cells[value] for value in known))
        self.published.total(whole, [(name, attribute, value) for value in known])
        for value in known:
            rest = (name, attribute, _rest(value))
            self.published.count(rest, self.published.true[whole] - cells[value])
            self.published.total(whole, [(name, attribute, value), rest])

    def _cross(self, name: str, attribute: str) -> None:
        """Two groups at once add up to each of both, with those of whom the other is not on record."""
        true = self.published.true
        crossed = self.rows.groups[attribute]
        for place, one in enumerate(attribute.split(CROSS)):
            half_known = set(self.rows.groups.loc[crossed == NOT_RECORDED, one])
            for value in self.codes[one].categories:
                if value == NOT_RECORDED:
                    continue
                parts = [(name, attribute, both) for both in self.codes[attribute].categories
                         if both != NOT_RECORDED and both.split(CROSS)[place] == value]  # fmt: skip
                if value in half_known:
                    half = (name, attribute, f"{one} {value}, the other not on record")
                    self.published.count(half, true[name, one, value] - sum(true[part] for part in parts))
                    parts.append(half)
                self.published.total((name, one, value), parts)


@dataclass(frozen=True)
class _Already:
    """What an audit has shown: `sizes` of groups, those in need apart, empty names for all; shares; that of all."""

    sizes: frozenset[tuple[bool | str, ...]]
    shares: frozenset[Place]
    helped: bool

    @classmethod
    def of(cls, shown: Shown) -> _Already:
        sizes: set[tuple[bool | str, ...]] = set()
        for where, *numbers in ((), shown.students, shown.in_need), *(
                ((one.attribute, one.value), one.students, one.in_need) for one in shown.groups):  # fmt: skip
            sizes |= {(need, *where) for need, number in zip((False, True), numbers, strict=True) if number is not None}
        shares = {(one.check, one.item, one.attribute, one.value, own) for one in shown.findings
                  for own, rate in ((True, one.rate), (False, one.others_rate)) if rate is not None}  # fmt: skip
        return cls(frozenset(sizes), frozenset(shares), shown.helped is not None)


def _rest(value: str) -> str:
    """The name of all others whose value is on record."""
    return f"all but {value}"


def _finding(one: Judged, facts: Mapping[Place, Fact | None], shown: set[Fact], policy: Policy) -> Finding:
    figure = one.figure
    counts = policy.counts(figure.check, figure.attribute)
    does = consequence(one.verdict, policy.checks[figure.check], counts)
    if does is Consequence.ASKS and one.verdict is Verdict.CANNOT_TELL and CROSS in figure.attribute:
        does = Consequence.SHOWS
    why = "" if one.enough else TOO_FEW
    return Finding(figure.check, figure.item, figure.attribute, figure.value, one.verdict, does, counts, why=why,
                   **_figures(one, facts, shown, policy))  # fmt: skip


def _figures(one: Judged, facts: Mapping[Place, Fact | None], shown: set[Fact],
             policy: Policy) -> dict[str, float | None]:  # fmt: skip
    """The group's rate, that of all others, the gap and its interval, as far as they may be shown."""
    figure = one.figure
    place = figure.check, figure.item, figure.attribute, figure.value
    own, rest = (rows >= policy.fewest_in_need and told >= policy.smallest_cell
                 for rows, told in ((figure.rows, figure.told), (figure.others, figure.others_told)))  # fmt: skip
    plain = (*place, True) in facts
    if plain:
        own, rest = facts[*place, True] in shown, facts[*place, False] in shown
    digits = 1 if CHECKS[figure.check].unit == "points" else 2
    rate = _shown_rate(figure.check, figure.rate, digits) if own and math.isfinite(figure.rate) else None
    others_rate = None
    if rest and math.isfinite(figure.others_rate):
        others_rate = _shown_rate(figure.check, figure.others_rate, digits)
    found = {"rate": rate, "others_rate": others_rate, "gap": None, "lower": None, "upper": None}
    if not one.enough or rate is None or (others_rate is None and figure.comparison != "mean"):
        return found
    gap = _rounded_gap(figure, rate, others_rate) if plain and not CHECKS[figure.check].matched else figure.gap
    ends = dict(zip(("lower", "upper"), figure.interval(policy.confidence), strict=True))
    moved = {name: end * gap / figure.gap if figure.comparison == "ratio" and figure.gap else end + gap - figure.gap
             for name, end in ends.items()}  # fmt: skip
    return found | {name: round(value, digits) + 0.0 if math.isfinite(value) else None
                    for name, value in {"gap": gap, **moved}.items()}  # fmt: skip


def _shown_rate(check: str, rate: float, digits: int) -> float:
    return percent(1 - percent(1 - rate)) if check == _HELPED else round(rate, digits)


def _rounded_gap(figure: Figure, rate: float | None, others_rate: float | None) -> float:
    """The gap of the shares as they are shown."""
    if rate is None or others_rate is None or not others_rate or not rate:
        return figure.gap
    return rate / others_rate if figure.comparison == "ratio" else rate - others_rate


def _unknown(name: str, policy: Policy) -> Finding:
    """That nothing is on record by which a group could be told."""
    does = consequence(Verdict.CANNOT_TELL, policy.checks["missed"], policy.counts("missed", name))
    return Finding("missed", "", name, NOT_RECORDED, Verdict.CANNOT_TELL, does, policy.counts("missed", name),
                   None, None, None, None, None, NOTHING_RECORDED)  # fmt: skip
