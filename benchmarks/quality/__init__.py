"""How well the ranking performs where the truth is known: simulated districts and baselines.

`simulation.py` draws districts whose true benefits are known and `baselines.py` holds the other
learners; `python -m benchmarks.quality` compares them. Each other module measures one statistical
property. No real student's record is used.
"""
