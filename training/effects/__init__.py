"""What partner programs achieved: the estimated effect of each, by amount received and at what
cost. It gives no estimate that the data cannot carry, and claims no proof of a cause. Start in
`effects.py` for one comparison, in `program_effects.py` for all programs.
"""
