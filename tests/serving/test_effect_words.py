"""What the district reads of a program: figures with a range, silence with its reason, and never a cause."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from serving.effect_words import CAVEAT, VERDICTS, sentences
from training.effects import CANNOT_TELL, NEVER_CAME, Band, Effect, ProgramEffect, cost_per_point
from training.policy_value import Estimate


def found(value: float, lower: float, upper: float, **changes: object) -> Effect:
    made = Effect("ATT", 120, 900, Estimate(-1.2, -2.0, -0.4), "school", 14, 5.0, served_left_out=4, left_out=30,
                  estimate=Estimate(value, lower, upper), error=0.5)  # fmt: skip
    return replace(made, **changes)


def program(effect: Effect, *bands: Band, cost: float | None = 600.0) -> ProgramEffect:
    price = None if cost is None else cost_per_point(cost, effect)
    return ProgramEffect("p1", "o1", "Readers", "tutoring", effect, bands, 80.0, cost, price)


def test_a_gain_is_a_range_beside_the_naive_figure_and_its_cost():
    said = sentences(program(found(2.0, 1.0, 3.0)))
    assert said[0] == ("Readers (tutoring): the 120 students served made between 1.0 and 3.0 points more progress than "
                       "similar students who were not served.")  # fmt: skip
    assert said[1] == "4 records of students served are left out: nobody alike went without."
    assert any("naive comparison" in one and "1.2 points less" in one for one in said)
    assert "It costs $600 for each student served." in said
    assert "A point of progress of one student goes along with a cost of $200 to $600." in said
    assert said[-1] == CAVEAT


def test_a_loss_is_said_as_plainly():
    said = sentences(program(found(-2.0, -3.0, -1.0)))
    assert "made between 1.0 and 3.0 points less progress" in said[0]
    assert "Cannot tell what a point of progress costs: it is not sure that there was any." in said


def test_an_interval_that_holds_zero_is_no_gain():
    said = sentences(program(found(0.5, -1.0, 2.0)))
    assert "cannot be told from that of similar students" in said[0]
    assert "anything from 1.0 points less to 2.0 points more" in said[0]
    assert not any("A point of progress of one student" in one for one in said)


@pytest.mark.parametrize("why", CANNOT_TELL)
def test_where_nobody_can_tell_no_figure_of_an_effect_is_said(why: str):
    silent = found(9.9, 9.8, 9.95, estimate=None, cannot_tell=why)
    said = sentences(program(silent, Band("low", 1, 2, silent)))
    assert not any("received" in one for one in said), "bands of an effect that nobody can tell are left out"
    assert said[0] == f"Readers (tutoring): cannot tell, because {CANNOT_TELL[why]}."
    assert not any("9.9" in one for one in said)


def test_amounts_are_told_apart():
    bands = [Band(NEVER_CAME, 0, 0, found(0.1, -1, 1.2)), Band("low", 1, 5, found(1.0, -0.2, 2.2)),
             Band("high", 12, 30, found(3.0, 2.0, 4.0)),
             Band("middle", 9, 9, found(0, 0, 0, estimate=None, cannot_tell="few_served"))]  # fmt: skip
    said = sentences(program(found(2.0, 1.0, 3.0), *bands, cost=None))
    assert "Students who enrolled and never came cannot be told from similar students." in said
    assert "Students who received least (1 to 5) cannot be told from similar students." in said
    assert any(one.startswith("Students who received most (12 to 30) made between 2.0 and 4.0") for one in said)
    assert any("a middling amount (9): cannot tell, because fewer than 30" in one for one in said)
    assert "What the program costs is not on record." in said


def test_no_sentence_claims_a_cause_or_shows_a_code():
    every = [sentences(program(effect, cost=cost)) for cost in (None, 600.0)
             for effect in (found(2, 1, 3), found(-2, -3, -1), found(0, -1, 1),
                            *(found(0, 0, 0, estimate=None, cannot_tell=why) for why in CANNOT_TELL))]  # fmt: skip
    for said in every:
        text = " ".join(said[:-1])
        assert not re.search(r"\b(caus|effect|because of|thanks to|led to|improved|works)", text)
        assert "_" not in text
    assert set(VERDICTS) == {"gain", "loss", "no_difference", "cannot_tell"}
