"""What a ranker is worth on later days: what is measured, what is told of it, and where nothing can
be said.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.training.conftest import DAYS, PROGRAMS, SUPPORTS, draw_past, episodes_of
from training.episodes.episodes import Episodes, NotEnoughEvidence
from training.estimation.pseudo_outcomes import NONE
from training.evaluation.evaluate import (
    Evaluation,
    evaluate,
    evaluate_on_later_days,
    evaluation_set,
    later_days_mask,
)
from training.ranking.ranker import BenefitRanker


@pytest.fixture(scope="module")
def episodes() -> Episodes:
    return episodes_of(draw_past(11, 3_000))


@pytest.fixture(scope="module")
def clone() -> BenefitRanker:
    return BenefitRanker(SUPPORTS, n_folds=3, min_leaf=50)


@pytest.fixture(scope="module")
def judgement(episodes: Episodes, clone: BenefitRanker) -> Evaluation:
    return evaluate_on_later_days(episodes, clone, PROGRAMS)


def test_the_clone_learned_from_the_earlier_days_alone_and_the_later_ones_judge_it(
    episodes: Episodes, clone: BenefitRanker, judgement: Evaluation
):
    earlier = episodes.take(np.flatnonzero(~later_days_mask(episodes)))
    again = BenefitRanker(SUPPORTS, n_folds=3, min_leaf=50).fit(
        earlier.features, earlier.outcome, earlier.support, earlier.student
    )
    for support, benefit in again.benefits(episodes.features.head(200)).items():
        assert (benefit.mean == clone.benefits(episodes.features.head(200))[support].mean).all()
    assert (str(judgement.first_day), str(judgement.last_day)) == (DAYS[-1], DAYS[-1])
    assert judgement.episodes == len(episodes) // 3
    assert judgement.same_places.gain.lower > 0, (
        "it was learned from a past in which supports do help"
    )


def test_figures_for_a_tracker_are_flat_and_those_of_the_judgement(judgement: Evaluation):
    figures = judgement.metrics()
    assert figures["episodes"] == judgement.episodes
    assert figures["treated_share"] == judgement.places / judgement.episodes
    assert figures["same_places.gain.lower"] == judgement.same_places.gain.lower
    assert figures["no_limit.dr.value"] == judgement.no_limit.dr.value
    assert all(isinstance(value, float) for value in figures.values())


def test_what_is_told_of_a_judged_policy_hides_few_students_and_rounds_the_others(
    episodes: Episodes, clone: BenefitRanker, judgement: Evaluation
):
    evaluated = evaluation_set(episodes, later_days_mask(episodes), SUPPORTS, 0)
    assert evaluate(evaluated, clone, PROGRAMS) == judgement
    assert judgement.same_places == evaluated.value(
        evaluated.choices(clone, PROGRAMS, evaluated.places)
    )
    chosen = evaluated.choices(clone, PROGRAMS, evaluated.places)
    for row in judgement.overlap:
        place = (NONE, *SUPPORTS).index(row["action"])
        chance = evaluated.propensity[chosen == place, place]
        count = int(((chance > row["above"]) & (chance <= row["up_to"])).sum())
        assert row["episodes"] == (None if count < 10 else int(count / 10 + 0.5) * 10)
    counts = [row["episodes"] for row in judgement.overlap]
    assert None in counts and sum(count or 0 for count in counts) == pytest.approx(
        len(evaluated), abs=5 * len(counts)
    )
    predicted = [row["predicted"] for row in judgement.calibration]
    assert len(predicted) == 5 and predicted == sorted(predicted)
    assert judgement.calibration[-1]["realised"] > judgement.calibration[0]["realised"]
    arrays = {
        name: getattr(evaluated, name)[:45]
        for name in ("taken", "propensity", "expected", "pseudo_outcome")
    }
    few = replace(evaluated, episodes=evaluated.episodes.take(np.arange(45)), **arrays)
    assert evaluate(few, clone, PROGRAMS).calibration == ()


def test_too_few_days_or_starts_say_so(episodes: Episodes):
    with pytest.raises(NotEnoughEvidence, match="1 decision days"):
        later_days_mask(episodes_of(draw_past(11), DAYS[:1]))
    nobody = replace(episodes, support=episodes.support.where(~later_days_mask(episodes), NONE))
    with pytest.raises(
        NotEnoughEvidence, match="no student started a support on an evaluation day"
    ):
        evaluate_on_later_days(nobody, BenefitRanker(SUPPORTS), PROGRAMS)
