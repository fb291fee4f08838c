"""What an audit is bound to: everything in Handrail that decides what it finds.

A signature is for an audit, and an audit says what was true under one policy, with one set of
checks, one idea of who is in need, one rule of small numbers and one way of measuring. Where any of
these has changed since, nobody can say that the audit would come out as it did, so it lets no model
serve. What is not covered: the records and the model, which an audit names by digests of their own,
and the libraries that Handrail calls.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fairness.checks.checks import CHECKS
from fairness.checks.policy import Policy
from features.alerts import AlertRules
from records.suppression.rounding import ROUNDING_BASE
from records.system.code_digest import code_digest

_FAIRNESS = Path(__file__).parents[1]
_SMALLEST_CELL = "smallest_cell"
PART_LABELS: Mapping[str, str] = {
    "policy": "the policy",
    "checks": "the checks",
    "alert_rules": "the alert rules, by which students are in need,",
    "small_numbers": "the smallest number that may be shown",
    "measures": "the code of the measures",
    "supports": "the district's list of supports",
}


@dataclass(frozen=True)
class AuditBasis:
    """The SHA-256 of each thing that an audit is bound to.

    Attributes:
        policy: thresholds, groups and consequences.
        checks: the questions, with which way harm lies.
        alert_rules: who is in need.
        small_numbers: the smallest number of students that may be shown, and the rounding.
        measures: the code that measures, compares and judges, but for its comments and layout.
        supports: which of the kinds that the model knows may be suggested, and which of them tell
            of housing.
    """

    policy: str
    checks: str
    alert_rules: str
    small_numbers: str
    measures: str
    supports: str

    @classmethod
    def current(
        cls,
        policy: Policy,
        supports: Mapping[str, bool | None],
        rules: AlertRules | None = None,
    ) -> AuditBasis:
        """What an audit made now under a policy would be bound to.

        Args:
            supports: the rules of the kinds that the model knows
                (`records.canonical.supports.SupportCatalog.rules`). A kind that it does not know
                cannot change what is found.
            rules: the alert rules in force; by default those that come with Handrail.
        """
        return cls(
            policy=_digest(_without_small_numbers(policy)),
            checks=_digest({name: asdict(check) for name, check in CHECKS.items()}),
            alert_rules=(rules or AlertRules.declared()).sha256,
            small_numbers=_digest([policy.smallest_cell, ROUNDING_BASE]),
            measures=code_digest(measure_files()),
            supports=_digest(dict(supports)),
        )

    @property
    def sha256(self) -> str:
        """One digest of all parts."""
        return _digest(asdict(self))

    def changed_since(self, earlier: Mapping[str, str]) -> tuple[str, ...]:
        """The names of the parts that are not as an audit holds them.

        Args:
            earlier: the digests in the audit, by part; none in an audit of an earlier release, of
                which only the whole can be compared.
        """
        return tuple(
            field.name
            for field in fields(self)
            if earlier and earlier.get(field.name) != getattr(self, field.name)
        )


def measure_files() -> Iterator[Path]:
    """The files whose code decides what an audit finds."""
    for folder in ("measures", "population"):
        yield from (_FAIRNESS / folder).glob("*.py")
    yield _FAIRNESS / "gate" / "gate.py"


def _without_small_numbers(policy: Policy) -> dict[str, Any]:
    content = asdict(policy)
    del content[_SMALLEST_CELL]
    for name in ("says", "sources"):
        content[name] = {key: text for key, text in content[name].items() if key != _SMALLEST_CELL}
    return content


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
