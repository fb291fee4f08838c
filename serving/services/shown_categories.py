"""Which categories each kind of list or page shows, for the disclosure log."""

from __future__ import annotations

from features.alerts import ALERT_RULES
from features.catalog import CATALOG
from records.canonical.schema import Category

STUDENT_PAGE_CATEGORIES = frozenset(Category) - {Category.SCHEDULE}
"""What the page shows where scope allows it: class schedules are not on it."""


ALERT_CATEGORIES = frozenset(rule.category for rule in ALERT_RULES)


SUGGESTION_CATEGORIES = frozenset(feature.category for feature in CATALOG if feature.model_input)
