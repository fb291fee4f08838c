"""What a data officer looks at before trusting a load: each school's figures, and what is odd.

Owns the checks of single rows, the figures of each school, the ranges that are plausible, and the
words for what lies beyond them. Refuses to change or leave out a row because of a check, and names
no student. Start with `school_figures.py`.
"""
