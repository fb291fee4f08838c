"""Words that depend on what a district decided."""

from __future__ import annotations

from records.canonical.schema import SUPPORTS
from serving.wording import words
from serving.wording.words import SUPPORT_LABELS
from training.episodes.outcome import MEASURE_UNITS, OutcomeDefinition


def test_a_point_is_told_in_what_the_district_lets_count():
    assert (
        words.progress_point_text(OutcomeDefinition.declared().weights)
        == "One point is one more school day in every hundred, or two more points of 100 in course"
        " marks."
    )
    own = {
        "incident_free_days": 0.4,
        "attendance": 0,
        "courses_passed": 0.3,
        "grades": 0,
        "assessments": 0.25,
    }
    assert (
        words.progress_point_text(own)
        == "One point is 3.3 more courses passed in every hundred, or four small steps up in the"
        " same test, each a tenth of how far students' results usually lie apart, or 2.5 more"
        " school days in every hundred without an incident written up."
    )
    assert words.progress_point_text(None) == words.progress_point_text({}) == words.OWN_POINT


def test_every_measure_has_words():
    assert set(words.PROGRESS_UNITS) == set(MEASURE_UNITS)


def test_every_kind_of_support_has_words():
    assert set(SUPPORT_LABELS) == set(SUPPORTS)
