"""Fits beside each other: one thread each, whatever another call asks for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from training.estimation.parallel import max_threads

ROOT = Path(__file__).parents[3]
BESIDE_EACH_OTHER = """
import threading
import time
import lightgbm as lgb
import numpy as np
import training.estimation.parallel

random = np.random.default_rng(0)
rows = random.normal(size=(4000, 40))
labels = (rows[:, 0] + random.normal(size=4000) > 0).astype(float)
parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1}
end = time.monotonic() + 5

def fit():
    while time.monotonic() < end:
        lgb.train(parameters, lgb.Dataset(rows, labels, params=parameters), 10)

def ask_for_all_threads():
    while time.monotonic() < end:
        lgb.Dataset(np.zeros((2, 1)), params={"verbosity": -1, "num_threads": 8}).construct()

threads = [threading.Thread(target=work) for work in (fit, fit, ask_for_all_threads)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_lightgbm_has_a_ceiling_of_one_thread():
    assert max_threads() == 1


def test_a_fit_survives_a_call_beside_it_that_asks_for_more_threads():
    run = subprocess.run(
        [sys.executable, "-c", BESIDE_EACH_OTHER], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, f"the process died ({run.returncode}): {run.stderr}"


@pytest.mark.parametrize(
    "file",
    [
        str(file.relative_to(ROOT))
        for room in ("training", "fairness", "serving", "handrail")
        for file in (ROOT / room).rglob("*.py")
        if "lightgbm" in file.read_text()
    ],
)
def test_every_module_that_calls_lightgbm_sets_the_ceiling(file: str):
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse((ROOT / file).read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    if "lightgbm" in imported and file != "training/estimation/parallel.py":
        assert "training.estimation.parallel" in imported, file
