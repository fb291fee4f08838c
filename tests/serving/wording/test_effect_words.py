"""What the district reads of a program: figures with a range, silence with its reason, and never a
cause.
"""

from __future__ import annotations

import re

import pytest

from serving.wording.effect_words import (
    CAVEAT,
    VERDICTS,
    cost_text,
    dosage_range,
    estimate_with_interval,
    sensitivity,
    sentences,
    summary,
)
from tests.serving.synthetic_effects import effect_of, program, report_of, suppressed_effect
from training.effects.costs import Cost
from training.effects.dose_response import NEVER_ATTENDED, DoseBand
from training.effects.effects import NO_ESTIMATE_REASONS, Effect
from training.effects.published_effects import REASONS, PublishedEffect
from training.estimation.policy_value import Estimate

STATED = Cost(600.0, "student")


def told(
    effect: Effect, *bands: DoseBand, price: Cost | None = STATED, each: float | None = 600.0
) -> PublishedEffect:
    costs = {} if price is None else {"p1": price}
    (one,) = report_of(program(effect, *bands, cost=each), costs=costs).programs
    return one


def test_a_gain_is_a_range_beside_the_naive_figure_and_its_cost():
    said = sentences(told(effect_of(2.0, 1.0, 3.0)), 4)
    assert (
        said[0]
        == "About 120 students took part. They gained 2.0 points more than similar students who"
        f" did not (between 1.0 and 3.0 points more). {CAVEAT}"
    )
    assert (
        said[1]
        == "About 10 records of students who took part are excluded: no similar student went"
        " without the program."
    )
    assert "unadjusted comparison" in said[2] and "1.2 points less" in said[2]
    assert said[3:] == (
        "It costs $600 for each student.",
        "One point of progress by one student was associated with a cost of $200 to $600.",
    )


def test_a_loss_is_said_as_plainly():
    said = sentences(told(effect_of(-2.0, -3.0, -1.0)), 4)
    assert (
        "gained 2.0 points less than similar students who did not (between 1.0 and 3.0 points less)"
        in said[0]
    )
    assert said[-1] == "Cost per point is unknown because the records do not clearly show a gain."


def test_an_interval_that_holds_zero_is_no_gain():
    said = sentences(told(effect_of(0.5, -1.0, 2.0)), 4)
    assert (
        said[0]
        == "About 120 students took part. Their progress was not distinguishable from that of"
        " similar students who did not take part: anywhere from 1.0 points less to 2.0 points more."
    )
    assert not any("One point of progress by one student" in one for one in said)


def test_a_range_beside_zero_that_others_make_doubtful_says_why():
    others = [program(effect_of(0, -2, 2), key=f"q{place}") for place in range(4)]
    report = report_of(program(effect_of(2.0, 0.1, 3.9)), *others)
    one = next(one for one in report.programs if one.program_id == "p1")
    said = sentences(one, report.family)
    assert (
        "gained between 0.1 and 3.9 points more" in said[0] and "could be due to chance" in said[0]
    )
    assert said[1].startswith(
        "By itself, the interval excludes zero. But 5 programs are compared at once"
    )
    assert VERDICTS[one.verdict] == "No detectable difference"


@pytest.mark.parametrize("why", NO_ESTIMATE_REASONS)
def test_where_nobody_can_tell_no_figure_of_an_effect_is_said(why: str):
    one = told(suppressed_effect(why), DoseBand("low", 1, 2, suppressed_effect(why)))
    said = sentences(one, 4)
    assert one.amounts == (), "amounts of an effect that nobody can tell are left out"
    assert said[0] == f"Not enough data to compare: {NO_ESTIMATE_REASONS[why]}."
    assert not any("9.9" in text for text in said) and sensitivity(one) == ""


def test_beside_every_figure_stands_what_would_explain_it_away():
    assert "An unrecorded factor would have to be at least" in sensitivity(
        told(effect_of(2.0, 1.0, 3.0))
    )
    assert "among the students who took part" in sensitivity(told(effect_of(-2.0, -3.0, -1.0)))
    assert "The interval includes zero" in sensitivity(told(effect_of(0.5, -1.0, 2.0)))


def test_amounts_are_told_apart():
    bands = [
        DoseBand(NEVER_ATTENDED, 0, 0, effect_of(0.1, -1, 1.2)),
        DoseBand("low", 1, 5, effect_of(1.0, -0.2, 2.2)),
        DoseBand("middle", 6, 9, suppressed_effect()),
        DoseBand("high", 10, 30, effect_of(3.0, 2.0, 4.0)),
    ]
    found_bands = told(effect_of(2.0, 1.0, 3.0), *bands).amounts
    assert [dosage_range(one) for one in found_bands] == [
        "Enrolled but never attended",
        "Fewest sessions (up to 5)",
        "Mid-range (more than 5, up to 9)",
        "Most sessions (more than 9)",
    ]
    assert [estimate_with_interval(one.figures.estimate) for one in found_bands] == [
        "+0.1 (-1.0 to +1.2)",
        "+1.0 (-0.2 to +2.2)",
        "not enough data",
        "+3.0 (+2.0 to +4.0)",
    ]
    assert estimate_with_interval(Estimate(0.04, -0.04, 0.06)) == "0.0 (0.0 to +0.1)"


def test_a_cost_is_said_as_it_was_stated_and_for_one_student():
    assert cost_text(Cost(38.0, "session")) == "$38 for each session that a student attended"
    assert (
        cost_text(Cost(96_500.5, "year")) == "$96,500.50 a year"
        and cost_text(None) == "not on record"
    )
    assert (
        sentences(told(effect_of(2, 1, 3), price=Cost(48_000.0, "year")), 1)[3]
        == "It costs $48,000 a year, which is $600 for each student served."
    )
    assert (
        sentences(told(effect_of(2, 1, 3), price=None, each=None), 1)[-1]
        == "What the program costs is not on record."
    )


def test_the_summary_names_each_program_once():
    report = report_of(
        program(effect_of(2, 1, 3), key="a", name="Alpha"),
        program(effect_of(3, 2, 4), key="b", name="Beta"),
        program(effect_of(-3, -4, -2), key="c", name="Gamma"),
        program(suppressed_effect(), key="d", name="Delta"),
    )
    assert summary(report) == (
        "2 programs were associated with more progress than similar students made: Alpha and Beta.",
        "1 program was associated with less progress than similar students made: Gamma.",
        "1 program cannot be compared yet: Delta.",
    )


def test_no_sentence_claims_a_cause_or_shows_a_code():
    every = [
        told(effect, price=price, each=each)
        for price, each in (
            (None, None),
            (Cost(600.0, "student"), 600.0),
            (Cost(9_000.0, "year"), 112.5),
        )
        for effect in (
            effect_of(2, 1, 3),
            effect_of(-2, -3, -1),
            effect_of(0, -1, 1),
            *map(suppressed_effect, NO_ESTIMATE_REASONS),
        )
    ]
    for one in every:
        text = " ".join(sentences(one, 3)).replace(CAVEAT, "")
        assert not re.search(r"\b(caus|effect|because of|thanks to|led to|improved|works)", text)
        assert "_" not in text
    assert set(VERDICTS) == {"gain", "loss", "no_difference", "cannot_tell"} and set(
        NO_ESTIMATE_REASONS
    ) < set(REASONS)
