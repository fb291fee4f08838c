"""Identity: which student a partner's participant is, and which identifiers are one student's.

Owns the comparison of names, birth dates, grades and schools, and the links and decisions that are
stored. Refuses to guess: where a comparison is not sure, a person decides, and no later run
overrides them. Start with `participants.py`, which stores; `linkage.py` compares. `aliases.py`
stores the further identifiers of a student.
"""
