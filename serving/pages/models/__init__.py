"""Pages about the model and the programs: fairness audits, drift, and program effects.

Start with `audits.py`, where an equity reviewer signs or refuses a model version; `drift.py` and
`effects.py` show what two commands computed. They are for district staff, name no student, and so
write nothing into the disclosure log.
"""
