"""Episodes that a job keeps: those that would be built anew, and never those of other inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from records.canonical.supports import SupportCatalog
from tests.training.episodes.test_outcome import district, start
from training.episodes.episodes import Episodes
from training.episodes.outcome import OutcomeDefinition
from training.registry.inputs import KeptEpisodes, load_episodes, no_progress


def assert_equal(found: Episodes, expected: Episodes) -> None:
    pd.testing.assert_frame_equal(found.features, expected.features, check_exact=True)
    pd.testing.assert_series_equal(found.outcome, expected.outcome, check_exact=True)
    for name in ("student", "decision_date", "support", "school", "moved_away"):
        pd.testing.assert_series_equal(getattr(found, name), getattr(expected, name))


def test_kept_episodes_are_those_of_the_same_inputs_alone(tmp_path: Path):
    snapshot = district(tmp_path / "one", service_enrollments=[start("s1", "food", 5)])
    other = district(tmp_path / "two", service_enrollments=[start("s2", "tutoring", 5)])
    outcome = OutcomeDefinition.declared()
    shorter = replace(outcome, window_days=outcome.window_days - 30)
    fewer = replace(SupportCatalog.declared(), kinds=SupportCatalog.declared().kinds[:-1])
    kept, built = KeptEpisodes(), []
    for asked in (
        (snapshot, outcome, False),
        (snapshot, outcome, True),
        (snapshot, shorter, False),
        (other, outcome, False),
        (replace(snapshot, supports=fewer), outcome, False),
    ):
        found = kept(*asked, no_progress)
        assert len(found.outcome) and all(found is not earlier for earlier in built)
        if not built:
            assert_equal(found, load_episodes(*asked, no_progress))
        assert kept(*asked, no_progress) is found
        built.append(found)
