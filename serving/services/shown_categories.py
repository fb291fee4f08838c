"""Which categories each kind of list or page shows of a student, for the disclosure log.

Those of a list with alerts follow from the rules in force: `AlertRules.categories`.
"""

from __future__ import annotations

from features.catalog import CATALOG
from records.canonical.schema import Category

STUDENT_PAGE_CATEGORIES = frozenset(Category) - {Category.SCHEDULE}
"""Of a student's own page, where scope allows them: class schedules are not on it."""


SUGGESTION_CATEGORIES = frozenset(feature.category for feature in CATALOG if feature.model_input)
"""Of a list with suggestions: what the model reads."""
