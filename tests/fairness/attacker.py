"""An attacker who reads all that audits of the same students show, and asks by linear programming
what lies behind it.

It shares no code with what is attacked: it knows the checks by their words, how students add up,
and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import pandas as pd
from scipy.optimize import linprog
from scipy.sparse import csr_array

from fairness.checks.checks import INTERSECTION_SEPARATOR
from fairness.gate.findings import PublishedAudit
from fairness.population.comparisons import NOT_RECORDED
from tests.fairness.synthetic_districts import District

Cell = tuple[str, str]
EVERYBODY: Cell = ("", "")
Counts = Mapping[tuple[str, Cell], int]
"""How many there are of what, in each cell."""
Row = dict[int, float]
"""Factors of counts, by their place."""


Tied = tuple[str, Cell, int, float]
"""A count with its true value, and how far apart the ends are between which it must lie."""


@dataclass(frozen=True)
class PublicKnowledge:
    """What every reader knows of what is counted: the words of the checks say so.

    Attributes:
        within: which students are counted among which others.
        shares: of each check, with its item, which students it tells of and out of which: "a - b"
            are those of `a` who are not of `b`, who are of them.
        by_model: what another model makes another of; all else is the same in every audit of the
            same students.
        less: differences that are counted within a third.
    """

    within: tuple[tuple[str, str], ...]
    shares: Mapping[str, tuple[str, str]]
    by_model: frozenset[str]
    less: tuple[tuple[str, str, str], ...] = ()

    @property
    def counted(self) -> list[str]:
        return list(
            dict.fromkeys(
                name for pair in self.within for names in pair for name in names.split(" - ")
            )
        )


DEFAULT_KNOWLEDGE = PublicKnowledge(
    (
        ("need", "students"),
        ("missed", "need"),
        ("open", "need"),
        ("missed though open", "open"),
        ("missed though open", "missed"),
        ("waiting", "open"),
        ("missed though open", "waiting"),
    ),
    {
        "suggestion": ("need - missed", "need"),
        "missed": ("missed", "need"),
        "access": ("missed though open", "open"),
        "silence": ("missed though open", "waiting"),
    },
    frozenset({"missed", "missed though open"}),
    (("open", "missed though open", "need - missed"),),
)
SHARES = tuple(DEFAULT_KNOWLEDGE.shares)


def true_counts(district: District) -> dict[tuple[str, Cell], int]:
    """How many students, in need, missed and helped there are in each cell, counted by hand."""
    need = (district.students.alert_severity.max(axis=1) >= 2).to_numpy()
    helped = need & (
        district.advice.suggested_supports.any(axis=1).to_numpy() | district.students.in_support
    )
    is_open = need & district.students.eligible.any(axis=1).to_numpy()
    return in_cells(
        {
            "students": np.ones(len(need), dtype=bool),
            "need": need,
            "missed": need & ~helped,
            "need - missed": helped,
            "open": is_open,
            "missed though open": is_open & ~helped,
            "waiting": is_open & ~district.students.in_support,
        },
        district.students.groups,
    )


def in_cells(chosen: Mapping[str, np.ndarray], groups: pd.DataFrame) -> dict[tuple[str, Cell], int]:
    """Everybody chosen, counted in all and by group."""
    cells = {EVERYBODY: np.ones(len(groups), dtype=bool)}
    cells |= {
        (name, value): (groups[name] == value).to_numpy()
        for name in groups
        for value in groups[name].unique()
    }
    return {
        (what, cell): int((who & rows).sum())
        for what, who in chosen.items()
        for cell, rows in cells.items()
    }


class Attacker:
    """Reads the groups and findings of one or more audits, and knows how they add up."""

    def __init__(self, *audits: PublishedAudit, known: PublicKnowledge = DEFAULT_KNOWLEDGE) -> None:
        self.known = known
        self.cells = list(
            dict.fromkeys(
                [
                    EVERYBODY,
                    *((group.attribute, group.value) for shown in audits for group in shown.groups),
                ]
            )
        )
        names = [self.name(what, audit) for audit in range(len(audits)) for what in known.counted]
        self.place = {key: at for at, key in enumerate(product(dict.fromkeys(names), self.cells))}
        self.at_most: list[Row] = []
        self.equal: list[Row] = []
        self.limits: list[float] = []
        for audit, shown in enumerate(audits):
            self._adds_up(audit)
            self._read(audit, shown)

    def name(self, what: str, audit: int) -> str:
        return f"{what} of {audit}" if what in self.known.by_model else what

    def row(self, audit: int, *terms: tuple[float, str, Cell]) -> Row:
        factors: Row = {}
        for factor, what, cell in terms:
            for place, name in enumerate(what.split(" - ")):
                at = self.place[self.name(name, audit), cell]
                factors[at] = factors.get(at, 0.0) + (-factor if place else factor)
        return factors

    def width(self, what: str, cell: Cell, audit: int = 0) -> float:
        """How far apart the least and the greatest are that one count may be, for all that is
        shown.
        """
        ends = []
        for sign in (1, -1):
            goal = self._matrix([self.row(audit, (sign, what, cell))]).toarray()[0]
            solution = linprog(goal, *self.rows)
            if solution.status in (3, 4):
                return math.inf
            assert solution.status == 0, solution.message
            ends.append(sign * solution.fun)
        return ends[1] - ends[0]

    @cached_property
    def rows(self) -> tuple[csr_array, list[float], csr_array, np.ndarray]:
        return (
            self._matrix(self.at_most),
            self.limits,
            self._matrix(self.equal),
            np.zeros(len(self.equal)),
        )

    def _matrix(self, rows: list[Row]) -> csr_array:
        entries = [
            (value, at, place) for at, row in enumerate(rows) for place, value in row.items()
        ]
        values, at, place = zip(*entries, strict=True)
        return csr_array((values, (at, place)), (len(rows), len(self.place)))

    def _read(self, audit: int, shown: PublishedAudit) -> None:
        for what, cell, size in self._sizes(shown):
            if size is not None:
                self._below(self.row(audit, (1, what, cell)), size + 4)
                self._below(self.row(audit, (-1, what, cell)), 5 - size)
        for finding in shown.findings:
            check = f"{finding.check} {finding.item}".strip()
            if check in self.known.shares and finding.value != NOT_RECORDED:
                own, whole = (finding.attribute, finding.value), self._recorded(finding.attribute)
                self._share(audit, check, finding.rate, [(1, own)])
                self._share(
                    audit, check, finding.others_rate, [*((1, cell) for cell in whole), (-1, own)]
                )
        self._share(audit, "suggestion", shown.helped, [(1, EVERYBODY)])

    def _sizes(self, shown: PublishedAudit) -> Iterator[tuple[str, Cell, int | None]]:
        yield "students", EVERYBODY, shown.students
        yield "need", EVERYBODY, shown.in_need
        for group in shown.groups:
            yield "students", (group.attribute, group.value), group.students
            yield "need", (group.attribute, group.value), group.in_need

    def _recorded(self, attribute: str) -> list[Cell]:
        return [cell for cell in self.cells if cell[0] == attribute and cell[1] != NOT_RECORDED]

    def _below(self, row: Row, limit: float) -> None:
        self.at_most.append(row)
        self.limits.append(limit)

    def _share(
        self, audit: int, check: str, share: float | None, terms: list[tuple[int, Cell]]
    ) -> None:
        if share is None:
            return
        part, whole = self.known.shares[check]
        for sign, end in ((1, share + 0.005), (-1, share - 0.005)):
            self._below(
                self.row(
                    audit,
                    *((sign * factor, part, cell) for factor, cell in terms),
                    *((-sign * end * factor, whole, cell) for factor, cell in terms),
                ),
                0.0,
            )

    def _adds_up(self, audit: int) -> None:
        for cell in self.cells:
            for part, whole in self.known.within:
                self._below(self.row(audit, (1, part, cell), (-1, whole, cell)), 0.0)
            for part, other, whole in self.known.less:
                self._below(
                    self.row(audit, (1, part, cell), (-1, other, cell), (-1, whole, cell)), 0.0
                )
        unknown = any(
            value == NOT_RECORDED for name, value in self.cells if INTERSECTION_SEPARATOR in name
        )
        for what in self.known.counted:
            for attribute in {name for name, _ in self.cells} - {""}:
                parts = [cell for cell in self.cells if cell[0] == attribute]
                self.equal.append(
                    self.row(audit, (-1, what, EVERYBODY), *((1, what, cell) for cell in parts))
                )
                for at, single in enumerate(
                    attribute.split(INTERSECTION_SEPARATOR)
                    if INTERSECTION_SEPARATOR in attribute
                    else ()
                ):
                    for cell in self._recorded(single):
                        both = [
                            part
                            for part in self._recorded(attribute)
                            if part[1].split(INTERSECTION_SEPARATOR)[at] == cell[1]
                        ]
                        sums = self.row(
                            audit, (-1, what, cell), *((1, what, part) for part in both)
                        )
                        if unknown:
                            self._below(sums, 0.0)
                        else:
                            self.equal.append(sums)


def small_counts_tied_down(*audits: tuple[District, PublishedAudit]) -> list[Tied]:
    """The true counts below ten that the attacker ties down to fewer than ten numbers."""
    return tied_down(
        DEFAULT_KNOWLEDGE, *((true_counts(district), shown) for district, shown in audits)
    )


def tied_down(
    known: PublicKnowledge, *audits: tuple[Counts, PublishedAudit], most: int | None = None
) -> list[Tied]:
    """The small counts of any kind that are tied down; of `most` drawn by chance, where given."""
    attacker, tied = Attacker(*(shown for _, shown in audits), known=known), []
    small = [
        (what, audit, cell, count)
        for audit, (counts, _) in enumerate(audits)
        for (what, cell), count in counts.items()
        if count < 10 and (not audit or set(what.split(" - ")) & known.by_model)
    ]
    sample = np.random.default_rng(0).permutation(len(small))[:most]
    for what, audit, cell, count in (small[at] for at in sorted(sample)):
        width = attacker.width(what, cell, audit)
        if width < 10 - 1e-6:
            tied.append((attacker.name(what, audit), cell, count, width))
    return tied
