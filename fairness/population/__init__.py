"""Who is audited, in which groups, and how one group's figure compares with that of all others.

Students are read with their groups, cohorts and alerts; comparisons come out with standard errors
from a cluster bootstrap. Figures here are exact and never published. Start with `students.py`, then
`comparisons.py`.
"""
