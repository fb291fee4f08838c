"""A model file opens only with the bytes that were registered, and holds no pickle and no real
row.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import Past
from training.ranking.model_file import InvalidModelFile, read_model, write_model
from training.ranking.ranker import BenefitRanker


@pytest.fixture
def written(ranker: BenefitRanker, tmp_path: Path) -> tuple[Path, str]:
    file = tmp_path / "ranker.json"
    return file, write_model(ranker, file, {"snapshot": "x"})


def test_a_file_read_back_predicts_the_same(
    written: tuple[Path, str], ranker: BenefitRanker, past: Past
):
    model = read_model(*written)
    before, after = ranker.benefits(past.features), model.ranker.benefits(past.features)
    for support in ranker.supports_:
        np.testing.assert_array_equal(before[support].mean, after[support].mean)
        np.testing.assert_array_equal(before[support].lower, after[support].lower)
    assert model.manifest == {"snapshot": "x"}


def test_1500_random_edits_are_1500_refusals(written: tuple[Path, str]):  # R56
    file, sha256 = written
    data, rng = file.read_bytes(), random.Random(5)
    for _ in range(1500):
        edited = bytearray(data)
        place = rng.randrange(len(edited))
        edited[place] = (edited[place] + rng.randrange(1, 256)) % 256
        file.write_bytes(edited)
        with pytest.raises(InvalidModelFile, match="SHA-256"):
            read_model(file, sha256)


def test_a_file_that_predicts_otherwise_than_its_canaries_is_refused_even_with_its_own_digest(
    written: tuple[Path, str],
):  # R56
    file, _ = written
    content = json.loads(file.read_text())
    content["canaries"]["food"][0] += 1.0
    file.write_text(json.dumps(content))
    with pytest.raises(InvalidModelFile, match="no longer predicts"):
        read_model(file, hashlib.sha256(file.read_bytes()).hexdigest())


def test_a_model_of_another_catalog_or_a_missing_file_is_refused(written: tuple[Path, str]):
    file, _ = written
    file.write_text(file.read_text().replace('"catalog": "', '"catalog": "0'))
    with pytest.raises(InvalidModelFile, match="different feature catalog"):
        read_model(file, hashlib.sha256(file.read_bytes()).hexdigest())
    with pytest.raises(InvalidModelFile, match="cannot be read"):
        read_model(file.with_name("gone.json"), "0")
