"""Audits of a few findings, written down by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date, datetime

from fairness.audit.audit import Audit, verdict_of
from fairness.audit.basis import AuditBasis
from fairness.audit.mitigation import TradeoffCurve, TradeoffPoint
from fairness.checks.policy import Policy
from fairness.gate.findings import TOO_FEW, Finding, Group
from fairness.gate.gate import Verdict, consequence

POLICY = Policy.declared()
BASIS = AuditBasis.current(POLICY, {})
APPLIES = "`handrail train --without FAMILY` registers a candidate."
CURVES = (
    TradeoffCurve(
        "as it is",
        "",
        (TradeoffPoint("as it is", 0.91, 0.09, ("race_ethnicity", "black"), 0.86),),
        "Nothing changes.",
    ),
    TradeoffCurve(
        "family removal",
        "",
        (TradeoffPoint("without grades", 0.89, 0.01, ("race_ethnicity", "white"), 0.83),),
        APPLIES,
    ),
    TradeoffCurve(
        "constrained matching",
        "race_ethnicity",
        (
            TradeoffPoint("without floors", 0.74, 0.04, ("race_ethnicity", "black"), 0.68),
            TradeoffPoint("floor at 50% of parity", 0.71, 0.02, ("race_ethnicity", "black"), 0.69),
        ),
        "A person asks.",
    ),
)


def finding(
    check: str,
    attribute: str,
    value: str,
    gap: float | None,
    verdict: Verdict = Verdict.PASS,
    *,
    item: str = "",
) -> Finding:
    """The answer to one check for one group; without a gap too few are in need."""
    counts = POLICY.counts(check, attribute)
    figures = (None,) * 5 if gap is None else (0.2, 0.2, gap, gap - 0.02, gap + 0.02)
    return Finding(
        check,
        item,
        attribute,
        value,
        verdict,
        consequence(verdict, POLICY.checks[check], counts),
        counts,
        None if gap is None else 300,
        *figures,
        TOO_FEW if gap is None else "",
    )


def audit_of(findings: Sequence[Finding], **changes: object) -> Audit:
    """An audit of 3,000 students that found this."""
    groups = tuple(
        Group(attribute, value, 1000, 300)
        for attribute, value in dict.fromkeys(
            (finding.attribute, finding.value) for finding in findings
        )
    )
    audit = Audit(
        1,
        "a" * 64,
        "snap",
        date(2026, 4, 17),
        datetime(2026, 4, 17, 9),
        {"manifest_sha256": "c" * 64, "tables": {"students": 3000}},
        BASIS.sha256,
        json.loads(json.dumps(asdict(POLICY))),
        len(findings),
        verdict_of(findings),
        3000,
        900,
        0.8,
        False,
        groups,
        tuple(findings),
        (),
        (),
        asdict(BASIS),
    )
    return replace(audit, **changes)
