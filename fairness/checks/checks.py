"""Every question that an audit asks: what is compared, which way harm lies, and its words.

The questions themselves are data, in `checks.toml`; `policy.toml` says of each how much is too much
and what follows. A check is added in `checks.toml`, in the module that measures it (a file of
`fairness/measures`), and in the policy.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter

CHECKS_FILE = Path(__file__).with_name("checks.toml")
Contrast = Literal["difference", "ratio", "mean"]
INTERSECTION_SEPARATOR = " x "
"""Between the names of two groups at once."""
HIGH_CARDINALITY_ATTRIBUTES = ("school",)
"""Groups of which there are many."""
COMPLEMENT_OF_MISSED = "suggestion"
"""The check whose share is what is left of another's, "missed"."""


@dataclass(frozen=True)
class Check:
    """One question.

    Attributes:
        title, question: a heading, and the question in plain words.
        contrast: how the group is compared with all others whose value is on record ("difference",
            "ratio"), or that it is compared with nothing ("mean").
        harm_sign: 1 where more of it harms the group, -1 where less of it does.
        rate_label: what the figure of the group itself is called.
        unit: "share" (of students, or of benefit) or "points" (progress points).
        subject: "model" (what it suggests), "records" (what it learned from and sees), "use" (what
            staff see and do).
        stratified: whether students are compared within equal need, or within what their other
            records predict.
        all_attributes: whether schools and two groups at once are compared too.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    title: str
    question: str
    contrast: Contrast
    harm_sign: Literal[1, -1]
    rate_label: str
    unit: Literal["share", "points"] = "share"
    subject: Literal["model", "records", "use"] = "model"
    stratified: bool = False
    all_attributes: bool = False

    def applies_to(self, attribute: str) -> bool:
        """Whether the groups of an attribute are compared.

        Schools and two groups at once are compared by the main checks alone: what is left of most
        others there is too little to judge.
        """
        return self.all_attributes or (
            INTERSECTION_SEPARATOR not in attribute and attribute not in HIGH_CARDINALITY_ATTRIBUTES
        )


CHECKS: Mapping[str, Check] = TypeAdapter(dict[str, Check]).validate_python(
    tomllib.loads(CHECKS_FILE.read_text(encoding="utf-8"))
)
"""By the name that findings and the policy have them by, in the order of the report."""
