"""Whether the law requires a record of a disclosure, by its legal basis.

Handrail records every disclosure. What is declared here is which of them 34 CFR 99.32 would require
by itself. A legal basis that is not declared is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from records.permissions.agreements import LegalBasis
from records.staff.viewer import EMERGENCY_BASIS


class UnknownLegalBasis(ValueError):
    """A legal basis for which `RECORDKEEPING_RULES` does not say whether a record is required."""


@dataclass(frozen=True)
class RecordkeepingRule:
    """Whether 34 CFR 99.32 requires a record, and the paragraph that says so."""

    recorded: bool
    citation: str


RECORDKEEPING_RULES: Mapping[str, RecordkeepingRule] = {
    LegalBasis.SCHOOL_OFFICIAL: RecordkeepingRule(False, "34 CFR 99.32(d)(2)"),
    LegalBasis.CONSENT: RecordkeepingRule(False, "34 CFR 99.32(d)(3)"),
    LegalBasis.AUDIT_EVALUATION: RecordkeepingRule(True, "34 CFR 99.32(a)(1)"),
    LegalBasis.STUDIES: RecordkeepingRule(True, "34 CFR 99.32(a)(1)"),
    EMERGENCY_BASIS: RecordkeepingRule(True, "34 CFR 99.32(a)(5)"),
    "judicial_order": RecordkeepingRule(True, "34 CFR 99.32(a)(1)"),
    "own_records": RecordkeepingRule(False, "34 CFR 99.32(d)(2)"),
    "parent": RecordkeepingRule(False, "34 CFR 99.32(d)(1)"),
}
"""By legal basis. Handrail records every disclosure; the law alone would require those that are
`recorded`.

`judicial_order` is 99.31(a)(9)(i) and (ii). An order that forbids notifying anyone,
99.31(a)(9)(ii)(A) to (C), is not among them and must never reach this log, which a parent may read.
"""


def law_requires(legal_basis: str) -> bool:
    """Whether 34 CFR 99.32 requires a record of what is shown on this legal basis.

    Raises:
        UnknownLegalBasis: the basis is not declared in `RECORDKEEPING_RULES`.
    """
    try:
        return RECORDKEEPING_RULES[legal_basis].recorded
    except KeyError:
        raise UnknownLegalBasis(
            f"it is not declared whether the law requires a record for {legal_basis!r}"
        ) from None
