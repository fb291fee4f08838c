"""The counts of students behind an audit, how they add up, and what would be shown of them: what
`disclosure_control` is asked about.

Everything that counts audited students is declared together, with what other audits of the same
students have shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd

from fairness.gate.findings import PublishedAudit
from fairness.policy.checks import (
    CHECKS,
    COMPLEMENT_OF_MISSED,
    HIGH_CARDINALITY_ATTRIBUTES,
    INTERSECTION_SEPARATOR,
)
from fairness.policy.policy import Policy
from fairness.population.comparisons import NOT_RECORDED, MeasureTable
from records.suppression.cell_suppression import CountName, LinkedTables, TableCell
from training.estimation.arrays import FloatArray

FindingKey = tuple[str, str, str, str]
"""Check, item, attribute and value."""
LARGE_DISTRICT = 100
"""Students of a district whose number, rounded, is shown whatever follows from it: it is known to
everybody."""
STUDENTS, IN_NEED = "students", "in_need"
_RECORDED, _SIZES = "recorded", "sizes"


@dataclass(frozen=True)
class StudentCounts:
    """One measure of all audited students.

    Attributes:
        amount, out_of: 1 or 0 for each student; `amount` is None of a measure that counts no
            students.
        attributes: what it is compared by.
    """

    check: str
    item: str
    numerator: FloatArray | None
    denominator: FloatArray
    attributes: tuple[str, ...]

    @property
    def table(self) -> str:
        return f"{self.check} {self.item}".strip()

    @property
    def complement(self) -> FloatArray:
        """Those asked about who do not count."""
        return self.denominator - (0.0 if self.numerator is None else self.numerator)

    @property
    def published_numerator(self) -> FloatArray:
        """Whose share is shown: who is helped is not missed, and both are one share, so only one is
        shown and to withhold it is enough.
        """
        return (
            self.complement
            if self.check == COMPLEMENT_OF_MISSED or self.numerator is None
            else self.numerator
        )


@dataclass(frozen=True)
class AuditMeasures:
    """What an audit counts: the measures of the audited students, those of `others` rows such as
    decision days, and who is in need, 1 or 0 for each audited student.
    """

    student_measures: MeasureTable
    other_measures: Sequence[MeasureTable]
    in_need: FloatArray
    policy: Policy

    def by_student(self) -> Iterator[StudentCounts]:
        """Every measure, of all audited students: who is in no row of it is not asked about.

        Raises:
            ValueError: rows that are not of these students cannot be protected.
        """
        everybody = self.student_measures.groups.index
        for rows in (self.student_measures, *self.other_measures):
            where = everybody.get_indexer(rows.groups.index)
            for measure in rows.measures:
                if (where < 0).any():
                    raise ValueError(f"the rows of {measure.check} are not of the audited students")
                amount, out_of = np.zeros((2, len(everybody)))
                amount[where], out_of[where] = measure.numerator, measure.denominator > 0
                compared = tuple(
                    name for name in rows.groups.columns if CHECKS[measure.check].applies_to(name)
                )
                yield StudentCounts(
                    measure.check,
                    measure.item,
                    amount if measure.is_count else None,
                    out_of,
                    compared,
                )


class PublicationTables:
    """The counts behind some measures, how they add up, and the facts that would be shown of them.

    Args:
        beside: counts of the same students by the audit that is being made now: these are declared
            with them.
        shown: what of these was shown already; None where that is to be found out.
    """

    def __init__(
        self,
        counted: AuditMeasures,
        beside: PublicationTables | None = None,
        shown: PublishedAudit | None = None,
    ) -> None:
        self.rows, self.policy = counted.student_measures, counted.policy
        rows, policy = self.rows, self.policy
        self.tables: LinkedTables = beside.tables if beside else LinkedTables()
        self.earlier_publication = None if shown is None else _Already.of(shown)
        self.fewest, self.smallest = policy.fewest_in_need, policy.smallest_cell
        self.codes = {name: pd.Categorical(rows.groups[name]) for name in rows.groups.columns}
        self.groups = [
            (name, value)
            for name, codes in self.codes.items()
            for value in sorted(codes.categories)
        ]
        self.plain = {
            name
            for name in self.codes
            if INTERSECTION_SEPARATOR not in name and name not in HIGH_CARDINALITY_ATTRIBUTES
        }
        self.missed_share: TableCell | None = None
        """The share of all in need who are missed; None where that is all of them."""
        self.shares: dict[tuple[FindingKey, bool], TableCell | None] = {}
        """Of the group itself, and of all others."""
        self.numbers: dict[FindingKey, TableCell] = {}
        """How many of a group are asked about."""
        self.sizes: dict[CountName, TableCell] = {}
        self.wholes: list[tuple[str, FloatArray]] = []
        same = beside is None or beside.policy.need_severity == policy.need_severity
        self.need = IN_NEED if same else f"in need from {policy.need_severity}"
        for name, values in ((STUDENTS, np.ones(len(rows.groups))), (self.need, counted.in_need)):
            self._declare(name, values, list(self.codes))
            self.wholes.append((name, values))
        self._show_sizes()
        asked = list(counted.by_student())
        for one in sorted(asked, key=lambda one: not CHECKS[one.check].all_attributes):
            self._show(one)
        self._nest(asked)

    def _show_sizes(self) -> None:
        for name, _ in self.wholes:
            public = name == STUDENTS and len(self.rows.groups) >= LARGE_DISTRICT
            self._size((name,), _SIZES, 2, public=public)
            for attribute, value in self.groups:
                self._size(
                    (name, attribute, value),
                    f"{_SIZES} by {attribute}",
                    int(attribute in self.plain),
                )

    def _size(self, name: CountName, table: str, cost: int, *, public: bool = False) -> None:
        if (
            self.earlier_publication is None
            or (IN_NEED if name[0] == self.need else STUDENTS, *name[1:])
            in self.earlier_publication.sizes
        ):
            self.sizes[name] = self.tables.publish_count(name, table, public=public, cost=cost)
            self._keep(self.sizes[name])

    def _share(
        self, part: CountName, whole: CountName, table: str, cost: int, *, already: bool
    ) -> TableCell | None:
        """The share, where it is to be shown or was; nothing is shown now that another audit has
        not.
        """
        if self.earlier_publication is not None and not already:
            self.tables.add_complement(part, whole)
            return None
        fact = self.tables.publish_share(part, whole, table, cost=cost)
        self._keep(fact)
        return fact

    def _keep(self, fact: TableCell) -> None:
        if self.earlier_publication is not None:
            self.tables.mark_published(fact)

    def _show(self, one: StudentCounts) -> None:
        """Declare what a measure counts, how many it asks about, and the shares that would be shown
        of it: of students enough to be judged.
        """
        key, base = self._name(one.published_numerator), self._name(one.denominator)
        for part, whole, values in (
            (base, self._around(one.denominator), one.denominator),
            (key, base, one.published_numerator),
        ):
            if part != whole:
                for cell in self._declare(part, values, one.attributes):
                    self.tables.add_subset(cell, (whole, *cell[1:]))
        if one.check == COMPLEMENT_OF_MISSED and key != base:
            self.missed_share = self._share(
                (key,),
                (base,),
                one.table,
                2,
                already=bool(self.earlier_publication and self.earlier_publication.helped),
            )
        for attribute, value in self.groups:
            if value == NOT_RECORDED or attribute not in one.attributes:
                continue
            place, both = (one.check, one.item, attribute, value), (value, _rest(value))
            self._number(place, (base, attribute, value))
            if one.numerator is None:
                continue
            told = key != base and all(
                self._enough((key, attribute, group), (base, attribute, group)) for group in both
            )
            for group, own in zip(both, (True, False), strict=True):
                already = bool(
                    self.earlier_publication and (place, own) in self.earlier_publication.shares
                )
                self.shares[place, own] = (
                    self._share(
                        (key, attribute, group),
                        (base, attribute, group),
                        f"{one.table} by {attribute}",
                        int(attribute in self.plain),
                        already=already,
                    )
                    if told
                    else None
                )

    def _number(self, place: FindingKey, name: CountName) -> None:
        """How many are asked about: where that is no size of a group already, it is the first to be
        withheld. Of a group that is too small to be judged it is not shown, nor of schools and of
        two groups at once.
        """
        if name in self.sizes:
            self.numbers[place] = self.sizes[name]
        elif self.tables.true_counts[name] < self.fewest or place[2] not in self.plain:
            return
        elif self.earlier_publication is None or place in self.earlier_publication.numbers:
            self.numbers[place] = self.tables.publish_count(
                name, f"{place[0]} {place[1]} numbers by {place[2]}", cost=-1
            )
            self._keep(self.numbers[place])

    def _enough(self, part: CountName, whole: CountName) -> bool:
        """Whether a share may be shown at all. Where that of a group may not, nor is that of all
        others: what all have less that would give the group's away.
        """
        true = self.tables.true_counts
        size = true.get(whole, 0)
        return size >= self.fewest and min(true[part], size - true[part]) >= self.smallest

    def _nest(self, asked: Sequence[StudentCounts]) -> None:
        """What every reader knows of counts of several checks: which lie within which, and which
        two make up a third.

        "Missed" and "with a support or a suggestion" make up those in need, who are students; and
        those who are not missed though a support is open to them are among those with a support or
        a suggestion.
        """
        counts = dict(self.wholes)
        for one in asked:
            for values in (
                one.denominator,
                one.published_numerator,
                *(() if one.numerator is None else (one.numerator,)),
            ):
                counts.setdefault(self._name(values), values)
        for one in asked:
            if any(
                (one.complement <= other).all() and not (one.denominator <= other).all()
                for other in counts.values()
            ):
                self._declare(self._name(one.complement), one.complement, one.attributes)
                counts.setdefault(self._name(one.complement), one.complement)
        inside = {
            (inner, outer)
            for inner, outer in permutations(counts, 2)
            if (counts[inner] <= counts[outer]).all()
        }
        for inner, outer in inside:
            if not any(
                (inner, between) in inside and (between, outer) in inside for between in counts
            ):
                for cell in self._cells_of(inner, outer):
                    self.tables.add_subset((inner, *cell), (outer, *cell))
        for one in asked:
            part, whole, rest = (
                self._name(values)
                for values in (
                    one.published_numerator,
                    one.denominator,
                    one.denominator - one.published_numerator,
                )
            )
            if rest in counts and len({part, whole, rest}) == 3:
                for cell in self._cells_of(part, whole, rest):
                    self.tables.add_total((whole, *cell), [(part, *cell), (rest, *cell)])

    def _cells_of(self, *names: str) -> list[CountName]:
        """The cells that are declared of all these counts."""
        cells = (
            {
                known[1:]
                for known in self.tables.true_counts
                if known[0] == name and "but not" not in known
            }
            for name in names
        )
        return sorted(set.intersection(*cells))

    def _name(self, values: FloatArray) -> str:
        """Equal counts have one name, since whoever reads the report knows that they are the
        same.
        """
        digest = hashlib.sha256(values.tobytes()).hexdigest()
        known = {hashlib.sha256(part.tobytes()).hexdigest(): name for name, part in self.wholes}
        return known.get(digest, f"count {digest[:12]}")

    def _around(self, values: FloatArray) -> str:
        """The narrowest of the wholes that holds them."""
        return next(name for name, whole in reversed(self.wholes) if (values <= whole).all())

    def _declare(self, name: str, values: FloatArray, attributes: Sequence[str]) -> list[CountName]:
        """Counts of one kind: in all, by each value of these attributes, and how they add up. Those
        that must lie within others are returned.
        """
        add = self.tables
        found: list[CountName] = [] if (name,) in add.true_counts else [(name,)]
        add.add_count((name,), int(values.sum()))
        new = [
            attribute
            for attribute in attributes
            if not any(
                (name, attribute, value) in add.true_counts
                for value in self.codes[attribute].categories
            )
        ]
        for attribute in new:
            codes = self.codes[attribute]
            sums = np.bincount(codes.codes, values, len(codes.categories))
            cells = {
                str(value): int(count) for value, count in zip(codes.categories, sums, strict=True)
            }
            for value, count in cells.items():
                add.add_count((name, attribute, value), count)
            add.add_total((name,), [(name, attribute, value) for value in cells])
            found += [(name, attribute, value) for value in cells]
            self._recorded(name, attribute, cells)
        for attribute in new:
            if INTERSECTION_SEPARATOR in attribute:
                self._cross(name, attribute)
        return found

    def _recorded(self, name: str, attribute: str, cells: Mapping[str, int]) -> None:
        """All whose value is on record, and for each value all the others."""
        known = [value for value in cells if value != NOT_RECORDED]
        if len(known) < 2:
            return
        whole = (name, attribute, _RECORDED)
        self.tables.add_count(whole, sum(cells[value] for value in known))
        self.tables.add_total(whole, [(name, attribute, value) for value in known])
        for value in known:
            rest = (name, attribute, _rest(value))
            self.tables.add_count(rest, self.tables.true_counts[whole] - cells[value])
            self.tables.add_total(whole, [(name, attribute, value), rest])

    def _cross(self, name: str, attribute: str) -> None:
        """Two groups at once add up to each of both, with those of whom the other is not on
        record.
        """
        true = self.tables.true_counts
        crossed = self.rows.groups[attribute]
        for place, one in enumerate(attribute.split(INTERSECTION_SEPARATOR)):
            half_known = set(self.rows.groups.loc[crossed == NOT_RECORDED, one])
            for value in self.codes[one].categories:
                if value == NOT_RECORDED:
                    continue
                parts = [
                    (name, attribute, both)
                    for both in self.codes[attribute].categories
                    if both != NOT_RECORDED and both.split(INTERSECTION_SEPARATOR)[place] == value
                ]
                if value in half_known:
                    half = (name, attribute, f"{one} {value}, the other not on record")
                    self.tables.add_count(
                        half, true[name, one, value] - sum(true[part] for part in parts)
                    )
                    parts.append(half)
                self.tables.add_total((name, one, value), parts)


@dataclass(frozen=True)
class _Already:
    """What an audit has shown: sizes of groups, `IN_NEED` or `STUDENTS`, and of all; numbers;
    shares; that of all.
    """

    sizes: frozenset[CountName]
    numbers: frozenset[FindingKey]
    shares: frozenset[tuple[FindingKey, bool]]
    helped: bool

    @classmethod
    def of(cls, shown: PublishedAudit) -> _Already:
        sizes = {
            (name, *where)
            for where, *numbers in [
                ((), shown.students, shown.in_need),
                *(((one.attribute, one.value), one.students, one.in_need) for one in shown.groups),
            ]
            for name, number in zip((STUDENTS, IN_NEED), numbers, strict=True)
            if number is not None
        }
        places = {(one.check, one.item, one.attribute, one.value): one for one in shown.findings}
        shares = {
            (place, own)
            for place, one in places.items()
            for own, rate in ((True, one.rate), (False, one.others_rate))
            if rate is not None
        }
        return cls(
            frozenset(sizes),
            frozenset(place for place, one in places.items() if one.n is not None),
            frozenset(shares),
            shown.helped is not None,
        )


def _rest(value: str) -> str:
    """The name of all others whose value is on record."""
    return f"all but {value}"
