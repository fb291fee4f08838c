"""Two audits compared: what has changed first, and nothing lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fairness.gate.gate import Verdict
from fairness.report.views import FindingsByCheck, compare_audits
from tests.fairness.handwritten_audits import audit_of, finding

STEADY = finding("missed", "sex", "female", 0.01)


def groups(pairs: FindingsByCheck) -> list[tuple[str, str]]:
    return [(title, pair.group) for title, compared in pairs for pair in compared]


def test_an_audit_compared_with_itself_has_not_changed():
    failing = finding("missed", "sex", "male", 0.09, Verdict.FAIL)
    audit = audit_of([STEADY, failing, finding("access", "sex", "male", 0)])
    comparison = compare_audits(audit, audit)
    assert comparison.changed == () and comparison.reported == ()
    assert groups(comparison.unresolved) == [("Missed", "Boys")]
    assert groups(comparison.alike) == [("Missed", "Girls"), ("Access at equal need", "Boys")]
    assert all(first == second for _, first, second in comparison.facts)


def test_another_verdict_is_a_change_and_stands_with_both_gaps_and_their_difference():
    first, second = (
        finding("missed", "sex", "male", 0.04),
        finding("missed", "sex", "male", 0.09, Verdict.FAIL),
    )
    ((title, (pair,)),) = compare_audits(
        audit_of([STEADY, first]), audit_of([STEADY, second])
    ).changed
    assert (title, pair.group, pair.difference) == ("Missed", "Boys", "+5 points")
    assert (pair.first, pair.second) == ("+4 points (+2 to +6)", "+9 points (+7 to +11)")
    assert (pair.first_verdict, pair.second_verdict) == (Verdict.PASS, Verdict.FAIL)


@pytest.mark.parametrize(
    ("check", "before", "after", "difference"),
    [
        ("missed", 0.03, 0.05, "+2 points"),
        ("missed", 0.03, 0.01, "-2 points"),
        ("missed", 0.03, 0.04, ""),
        ("suggestion", 1.0, 0.98, "-0.02 times"),
        ("suggestion", 1.0, 1.01, ""),
        ("calibration", 0.1, -0.2, "-0.3 progress points"),
        ("calibration", 0.1, 0.1, ""),
    ],
)
def test_a_gap_has_changed_from_two_hundredths_on(
    check: str, before: float, after: float, difference: str
):
    comparison = compare_audits(
        *(audit_of([finding(check, "sex", "male", gap)]) for gap in (before, after))
    )
    differences = [pair.difference for _, pairs in comparison.changed for pair in pairs]
    assert differences == ([difference] if difference else [])
    assert len(groups(comparison.changed)) + len(groups(comparison.alike)) == 1


def test_a_group_that_one_audit_did_not_ask_about_is_a_change():
    new = finding("support", "sex", "male", 0.9, item="tutoring")
    for audits, first, second in (
        ((audit_of([STEADY]), audit_of([STEADY, new])), "not checked", "0.90 times as often"),
        ((audit_of([STEADY, new]), audit_of([STEADY])), "0.90 times as often", "not checked"),
    ):
        ((title, (pair,)),) = compare_audits(*audits).changed
        assert title == "Each support: tutoring" and pair.difference == "not known"
        assert pair.first.startswith(first) and pair.second.startswith(second)
        assert None in (pair.first_verdict, pair.second_verdict)


def test_a_gap_that_may_not_be_shown_has_no_difference():
    hidden = finding("missed", "sex", "male", None, Verdict.CANNOT_TELL)
    comparison = compare_audits(
        audit_of([hidden]), audit_of([finding("missed", "sex", "male", 0.03)])
    )
    ((_, (pair,)),) = comparison.changed
    assert (pair.first, pair.difference) == ("not shown", "not known")
    ((_, (pair,)),) = compare_audits(audit_of([hidden]), audit_of([hidden])).unresolved
    assert (pair.first, pair.second) == ("not shown", "not shown")


def test_what_the_policy_only_shows_stands_apart():
    first, second = (
        finding("missed", "school", "k1", 0.01),
        finding("missed", "school", "k1", 0.2, Verdict.FAIL),
    )
    comparison = compare_audits(audit_of([first]), audit_of([second]))
    assert comparison.changed == () and groups(comparison.reported) == [("Missed", "k1")]


def test_every_finding_of_either_stands_in_exactly_one_place():
    first = [
        STEADY,
        finding("missed", "school", "k1", 0.2, Verdict.FAIL),
        finding("access", "sex", "male", 0.0),
        finding("missed", "sex", "another", None, Verdict.CANNOT_TELL),
    ]
    second = [replace(STEADY, gap=0.06), *first[1:3], finding("late_alert", "sex", "female", 0.0)]
    comparison = compare_audits(audit_of(first), audit_of(second))
    placed = [
        pair
        for part in (
            comparison.changed,
            comparison.unresolved,
            comparison.reported,
            comparison.alike,
        )
        for pair in groups(part)
    ]
    assert sorted(placed) == sorted(
        {
            ("Missed", "Girls"),
            ("Missed", "k1"),
            ("Access at equal need", "Boys"),
            ("Missed", "Students of another sex"),
            ("Late alerts", "Girls"),
        }
    )


def test_the_two_audits_as_a_whole():
    failing = audit_of(
        [finding("missed", "sex", "male", 0.09, Verdict.FAIL)], in_need=None, policy_sha256="f" * 64
    )
    facts = {
        label: (first, second)
        for label, first, second in compare_audits(audit_of([STEADY]), failing).facts
    }
    assert facts["Verdict"] == ("Passed", "Failed")
    assert facts["In need, about"] == ("900", "not shown")
    assert facts["Answers that block it"] == ("0", "1")
    assert facts["Answers that count and passed"] == ("1 of 1", "0 of 1")
    assert facts["Policy"][1] == "f" * 12 != facts["Policy"][0]
