"""An attacker who reads all that audits of the same students show, and asks by linear programming what lies behind it.

It shares no code with what is attacked: it knows the checks by their words, how students add up, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array

from fairness.checks import CROSS
from fairness.comparisons import NOT_RECORDED
from fairness.publishing import Shown
from tests.fairness.made_up import District

Cell = tuple[str, str]
EVERYBODY: Cell = ("", "")
WITHIN = (("need", "students"), ("missed", "need"), ("open", "need"), ("missed though open", "open"),
          ("missed though open", "missed"), ("waiting", "open"), ("missed though open", "waiting"))  # fmt: skip
"""Which students are counted among which others, by what the checks ask: their words say so."""
SHARES = {"suggestion": ("helped", "need"), "missed": ("missed", "need"), "access": ("missed though open", "open"),
          "silence": ("missed though open", "waiting")}  # fmt: skip
BY_MODEL = {"missed", "helped", "missed though open"}
"""What another model makes another of; all else is the same in every audit of the same students."""
_COUNTED = list(dict.fromkeys(name for pair in WITHIN for name in pair))


def true_counts(found: District) -> dict[tuple[str, Cell], int]:
    """How many students, in need, missed and helped there are in each cell, counted by hand."""
    need = (found.students.severity.max(axis=1) >= 2).to_numpy()
    helped = need & (found.advice.listed.any(axis=1).to_numpy() | found.students.served)
    is_open = need & found.students.may.any(axis=1).to_numpy()
    chosen = {"students": np.ones(len(need), dtype=bool), "need": need, "missed": need & ~helped, "helped": helped,
              "open": is_open, "missed though open": is_open & ~helped, "waiting": is_open & ~found.students.served}
    groups = found.students.groups
    cells = {EVERYBODY: np.ones(len(need), dtype=bool)}
    cells |= {(name, value): (groups[name] == value).to_numpy() for name in groups for value in groups[name].unique()}
    return {(what, cell): int((who & rows).sum()) for what, who in chosen.items() for cell, rows in cells.items()}


class Attacker:
    """Reads the groups and findings of one or more audits, and knows how they add up."""

    def __init__(self, *audits: Shown) -> None:
        self.cells = list(dict.fromkeys([EVERYBODY, *((one.attribute, one.value)
                                                      for shown in audits for one in shown.groups)]))  # fmt: skip
        names = [self.name(what, audit) for audit in range(len(audits)) for what in _COUNTED]
        self.place = {key: at for at, key in enumerate(product(dict.fromkeys(names), self.cells))}
        self.at_most: list[np.ndarray] = []
        self.equal: list[np.ndarray] = []
        self.limits: list[float] = []
        for audit, shown in enumerate(audits):
            self._adds_up(audit)
            self._read(audit, shown)

    def name(self, what: str, audit: int) -> str:
        return f"{what} of {audit}" if what in BY_MODEL else what

    def row(self, audit: int, *terms: tuple[float, str, Cell]) -> np.ndarray:
        found = np.zeros(len(self.place))
        for factor, what, cell in terms:
            if what == "helped":
                found += self.row(audit, (factor, "need", cell), (-factor, "missed", cell))
            else:
                found[self.place[self.name(what, audit), cell]] += factor
        return found

    def width(self, what: str, cell: Cell, audit: int = 0) -> float:
        """How far apart the least and the greatest are that one count may be, for all that is shown."""
        rows, equal = csr_array(np.array(self.at_most)), csr_array(np.array(self.equal))
        ends = []
        for sign in (1, -1):
            goal = sign * self.row(audit, (1, what, cell))
            found = linprog(goal, rows, self.limits, equal, np.zeros(equal.shape[0]))
            if found.status in (3, 4):
                return math.inf
            assert found.status == 0, found.message
            ends.append(sign * found.fun)
        return ends[1] - ends[0]

    def _read(self, audit: int, shown: Shown) -> None:
        for what, cell, size in self._sizes(shown):
            if size is not None:
                self._below(self.row(audit, (1, what, cell)), size + 4)
                self._below(-self.row(audit, (1, what, cell)), 5 - size)
        for one in shown.findings:
            if one.check in SHARES and one.value != NOT_RECORDED:
                own, whole = (one.attribute, one.value), self._recorded(one.attribute)
                self._share(audit, one.check, one.rate, [(1, own)])
                self._share(audit, one.check, one.others_rate, [*((1, cell) for cell in whole), (-1, own)])
        self._share(audit, "suggestion", shown.helped, [(1, EVERYBODY)])

    def _sizes(self, shown: Shown) -> Iterator[tuple[str, Cell, int | None]]:
        yield "students", EVERYBODY, shown.students
        yield "need", EVERYBODY, shown.in_need
        for one in shown.groups:
            yield "students", (one.attribute, one.value), one.students
            yield "need", (one.attribute, one.value), one.in_need

    def _recorded(self, attribute: str) -> list[Cell]:
        return [cell for cell in self.cells if cell[0] == attribute and cell[1] != NOT_RECORDED]

    def _below(self, row: np.ndarray, limit: float) -> None:
        self.at_most.append(row)
        self.limits.append(limit)

    def _share(self, audit: int, check: str, share: float | None, terms: list[tuple[int, Cell]]) -> None:
        if share is None:
            return
        some, whole = (self.row(audit, *((factor, what, cell) for factor, cell in terms)) for what in SHARES[check])
        self._below(some - (share + 0.005) * whole, 0.0)
        self._below((share - 0.005) * whole - some, 0.0)

    def _adds_up(self, audit: int) -> None:
        for cell in self.cells:
            for part, whole in WITHIN:
                self._below(self.row(audit, (1, part, cell), (-1, whole, cell)), 0.0)
            self._below(self.row(audit, (1, "open", cell), (-1, "missed though open", cell), (-1, "helped", cell)), 0.0)
        unknown = any(value == NOT_RECORDED for name, value in self.cells if CROSS in name)
        for what in _COUNTED:
            for attribute in {name for name, _ in self.cells} - {""}:
                parts = [cell for cell in self.cells if cell[0] == attribute]
                self.equal.append(self.row(audit, (-1, what, EVERYBODY), *((1, what, cell) for cell in parts)))
                for at, one in enumerate(attribute.split(CROSS) if CROSS in attribute else ()):
                    for cell in self._recorded(one):
                        both = [part for part in self._recorded(attribute) if part[1].split(CROSS)[at] == cell[1]]
                        sums = self.row(audit, (-1, what, cell), *((1, what, part) for part in both))
                        if unknown:
                            self._below(sums, 0.0)
                        else:
                            self.equal.append(sums)


def narrow(*audits: tuple[District, Shown]) -> list[tuple[str, Cell, int, float]]:
    """The true counts below ten that the attacker ties down to fewer than ten numbers."""
    attacker, tied = Attacker(*(shown for _, shown in audits)), []
    for audit, (found, _) in enumerate(audits):
        for (what, cell), count in true_counts(found).items():
            if count < 10 and (what in BY_MODEL or not audit):
                width = attacker.width(what, cell, audit)
                if width < 10 - 1e-6:
                    tied.append((attacker.name(what, audit), cell, count, width))
    return tied
