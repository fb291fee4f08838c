"""Statistical building blocks on plain arrays: cross-fitted doubly robust pseudo-outcomes, the
value of a policy, shrinkage, E-values, early stopping. Nothing here knows of students, records or
files. Start in `pseudo_outcomes.py`, then `policy_value.py`.
"""
