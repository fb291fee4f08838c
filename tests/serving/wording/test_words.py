"""Words that depend on what a district decided."""

from __future__ import annotations

from datetime import date, datetime

from serving.wording import words
from training.episodes.outcome import MEASURE_UNITS, OutcomeDefinition


def test_a_point_is_worded_by_what_the_district_lets_count():
    assert (
        words.progress_point_text(OutcomeDefinition.declared().weights)
        == "One point is one more school day in every hundred, or two more points of 100 in course"
        " grades."
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
        == "One point is 3.3 more courses passed in every hundred, or a gain of four tenths of a"
        " standard deviation on the same test, or 2.5 more school days in every hundred without an"
        " incident written up."
    )
    assert words.progress_point_text(None) == words.progress_point_text({}) == words.OWN_POINT


def test_every_measure_has_words():
    assert set(words.PROGRESS_UNITS) == set(MEASURE_UNITS)


def test_days_and_times_are_written_the_american_way():
    assert words.day(date(2026, 4, 7)) == "April 7, 2026"
    assert words.date_time(datetime(2026, 4, 17, 0, 5)) == "April 17, 2026, 12:05 AM"
    assert words.date_time("2026-04-17T12:30:00") == "April 17, 2026, 12:30 PM"
    assert words.date_time("2026-04-17T21:05:00") == "April 17, 2026, 9:05 PM"
