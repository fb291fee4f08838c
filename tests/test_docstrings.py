"""The examples in the docstrings of public classes and functions are true."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

MODULES = (
    "training.effects.effects",
    "training.estimation.policy_value",
    "training.ranking.ranker",
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name: str):
    failed, attempted = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert attempted > 0 and failed == 0
