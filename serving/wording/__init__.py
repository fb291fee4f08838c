"""The sentences and labels that people read: codes in, plain American English out.

`words.py` names every code and formats dates, counts and shares; `effect_words.py` and
`drift_words.py` say what published effects and drift reports found. They are pure functions, used
by pages and commands alike, and never claim more than the figures: no cause, no rounding up.
"""
