"""An audit says whose alerts were left out because figures of their school were doubted."""

from __future__ import annotations

from dataclasses import replace

from fairness.audit.audit import Audit
from fairness.gate.findings import Group
from fairness.report.views import audit_summary
from records.canonical.schema import Category
from tests.fairness.handwritten_audits import audit_of

OAK, ELM = Group("school", "Oak", 400, 100), Group("school", "Elm", None, None)


def test_an_audit_without_doubts_has_the_bytes_of_before():
    assert "doubted" not in audit_of([]).to_json()


def test_an_audit_keeps_what_was_doubted_and_counts_by_what_is_shown():
    audit = audit_of(
        [],
        groups=(OAK, ELM),
        doubted=(("k1", Category.ATTENDANCE),),
        doubted_schools=("Oak",),
    )
    assert Audit.from_json(audit.to_json()) == audit
    assert audit.doubted_students == 400
    text = audit_summary(audit)
    assert "About 400 students at Oak are left out of those in need where that rests on" in text
    both = replace(audit, doubted_schools=("Elm", "Oak"))
    assert both.doubted_students is None, "Elm's number is not shown"
    assert "Students at Elm, Oak are left out of those in need" in audit_summary(both)
