"""The policy: what a district declares to be fair enough, read from `policy.toml` and checked.

It refuses a file that would no longer protect anybody: an entry that is missing, unknown, without a
source, or outside its range (`policy_file.py`). The smallest number of students that may be shown
is not its own: it is that of `records.suppression.small_numbers`, as for every other figure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fairness.checks.checks import CHECKS, INTERSECTION_SEPARATOR
from fairness.checks.policy_file import Consequence, PolicyError, PolicyFile, read_policy_file
from records.suppression.small_numbers import DEFAULT_SMALL_NUMBERS, SmallNumbers
from records.system.files import district_file

POLICY_FILE = Path(__file__).with_name("policy.toml")
_SMALLEST_CELL_SAYS = (
    "A number of students below this is not shown, nor another from which it follows"
)


@dataclass(frozen=True)
class Threshold:
    """What one check asks for.

    Attributes:
        beyond: a gap beyond this fails, where chance does not explain it. A ratio falls below it.
        within: the whole interval must lie within this to pass.
        fails, unsure: what a failing check does, and one that cannot tell.
    """

    beyond: float
    within: float
    fails: Consequence
    unsure: Consequence
    source: str


@dataclass(frozen=True)
class Policy:
    """The thresholds, by the names in `policy.toml`; `says` and `sources` hold their words there.

    The fields are stored in every audit and are part of what a reviewer signs.

    Attributes:
        reported: groups, or "check:group", that are shown but not counted in the verdict, each with
            the reason.
        smallest_cell: students, as the district's `SmallNumbers` say.
    """

    groups: tuple[str, ...]
    intersections: tuple[tuple[str, str], ...]
    reported: Mapping[str, str]
    checks: Mapping[str, Threshold]
    need_severity: int
    smallest_cell: int
    fewest_in_need: int
    confidence: float
    strong_proxy: float
    valid_days: int
    drift_days: int
    reaudit_days: int
    shortest_reason: int
    says: Mapping[str, str]
    sources: Mapping[str, str]

    @classmethod
    def declared(cls) -> Policy:
        """The policy that comes with Handrail."""
        return cls.read(POLICY_FILE)

    @classmethod
    def from_home(cls, home: Path) -> Policy:
        """The policy of a district: `policy.toml` and `small_numbers.toml` in its home, where they
        lie there, else those that come with Handrail.

        Raises:
            PolicyError: as `read`.
            SmallNumbersError: the district's own rule of small numbers cannot be used.
        """
        return cls.read(district_file(home, POLICY_FILE), SmallNumbers.from_home(home))

    @classmethod
    def read(cls, file: Path, small_numbers: SmallNumbers = DEFAULT_SMALL_NUMBERS) -> Policy:
        """The policy in a file, with the district's rule of small numbers.

        Raises:
            PolicyError: an entry is missing, unknown, without a source or out of its range.
        """
        content = read_policy_file(file)
        return cls(
            groups=content.groups,
            intersections=content.intersections,
            reported=content.reported,
            checks=_thresholds(content),
            smallest_cell=small_numbers.smallest_cell,
            says={"smallest_cell": _SMALLEST_CELL_SAYS}
            | {name: entry.says for name, entry in content.thresholds},
            sources={"smallest_cell": small_numbers.source}
            | {name: entry.source for name, entry in content.thresholds},
            **{name: entry.value for name, entry in content.thresholds},
        )

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> Policy:
        """A policy as an audit holds it.

        Raises:
            PolicyError: it is none.
        """
        try:
            return _POLICY.validate_python(content)
        except ValidationError as error:
            raise PolicyError(f"the policy of an audit cannot be read: {error}") from None

    @property
    def attributes(self) -> tuple[str, ...]:
        """What is compared by: every group, then every intersection of two."""
        return (*self.groups, *(INTERSECTION_SEPARATOR.join(pair) for pair in self.intersections))

    @property
    def sha256(self) -> str:
        """A digest of everything that the policy says."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def counts(self, check: str, attribute: str) -> bool:
        """Whether the answer counts in the verdict, rather than being shown alone."""
        return not {attribute, f"{check}:{attribute}"} & self.reported.keys()


_POLICY = TypeAdapter(Policy)


def _thresholds(content: PolicyFile) -> dict[str, Threshold]:
    entries = {name: content.checks[name] for name in CHECKS}
    return {
        name: Threshold(entry.beyond, entry.within, entry.fails, entry.unsure, entry.source)
        for name, entry in entries.items()
    }
