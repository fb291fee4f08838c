"""A ranker as one JSON file, never a pickle: LightGBM's texts, their training, canary predictions.

A file is opened only by its registered SHA-256, checked before anything is parsed: of LightGBM
texts with random edits, half kill the process and one in twenty loads and silently predicts
otherwise (R56). A file holds no real row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.catalog import FEATURES_BY_NAME, catalog_hash
from records.system.errors import UserError
from training.ranking.calibration import Calibration
from training.ranking.ranker import BenefitRanker

FORMAT = "handrail-ranker-3"
_CANARY_LEVELS = (0.0, 1.0, 5.0, 20.0, 60.0, 85.0)


class InvalidModelFile(UserError, ValueError):
    """A model file that must not be used; the message says why."""


@dataclass(frozen=True)
class RankerModel:
    """A loaded ranker; `manifest` describes its training (snapshot, catalog, days, episodes)."""

    ranker: BenefitRanker
    manifest: Mapping[str, Any]
    sha256: str


def write_model(ranker: BenefitRanker, file: Path, manifest: Mapping[str, Any]) -> str:
    """Write the file and return its SHA-256.

    Args:
        ranker: fitted.
        file: to be written; its folder is created.
        manifest: what the ranker was trained on, plain values for JSON.
    """
    names = ranker.feature_names_
    content = {
        "format": FORMAT,
        "catalog": catalog_hash(),
        "manifest": dict(manifest),
        "features": names,
        "smallest_benefit": ranker.smallest_benefit,
        "models": ranker.model_texts(),
        "canaries": _canary_benefits(ranker),
        "calibration": {
            name: asdict(calibration) for name, calibration in ranker.calibration_.items()
        },
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    data = json.dumps(content, sort_keys=True, allow_nan=False).encode()
    file.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def read_model(file: Path, sha256: str) -> RankerModel:
    """The ranker in a file whose bytes have this SHA-256.

    Raises:
        InvalidModelFile: other bytes, another format, a different feature catalog, or predictions
            that differ from the canaries.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InvalidModelFile(f"the model file cannot be read: {error}") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InvalidModelFile(f"{file} does not match the registered file: its SHA-256 differs")
    content = json.loads(data)
    if content.get("format") != FORMAT:
        raise InvalidModelFile(
            f"{file} is in format {content.get('format')!r}; this release reads {FORMAT!r}"
        )
    if content["catalog"] != catalog_hash():
        raise InvalidModelFile(
            "the model was trained on a different feature catalog; train a new one"
        )
    calibration = {name: Calibration(**values) for name, values in content["calibration"].items()}
    ranker = BenefitRanker.from_texts(content["features"], content["models"], calibration)
    ranker.smallest_benefit = content["smallest_benefit"]
    now = _canary_benefits(ranker)
    for support, values in content["canaries"].items():
        if not np.allclose(values, now[support], rtol=0, atol=1e-9):
            raise InvalidModelFile(
                f"the model no longer predicts what it did when it was registered ({support})"
            )
    return RankerModel(ranker, content["manifest"], sha256)


def _canary_benefits(ranker: BenefitRanker) -> dict[str, list[float]]:
    """Benefits of artificial students: some levels, then each data category missing in turn."""
    names = ranker.feature_names_
    rows = [[level] * len(names) for level in _CANARY_LEVELS]
    for category in sorted({FEATURES_BY_NAME[name].category for name in names}):
        rows.append(
            [np.nan if FEATURES_BY_NAME[name].category is category else 5.0 for name in names]
        )
    canaries = pd.DataFrame(rows, columns=names, dtype="float64")
    return {
        support: benefit.mean.tolist() for support, benefit in ranker.benefits(canaries).items()
    }
