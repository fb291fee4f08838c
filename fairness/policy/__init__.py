"""What a district declares to be fair enough: the checks, their thresholds, and what follows.

All of it is data with its sources. Nothing here reads a record or calculates a figure, and a policy
that would no longer protect anybody is refused. Start with `checks.toml` and `policy.toml`, which
`policy.py` reads.
"""
