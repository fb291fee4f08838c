"""The questions that an audit asks of every group, and what a district declares to be too much.

All of it is data with its sources. Nothing here reads a record or calculates a figure, and a policy
that would no longer protect anybody is refused. Start with `checks.toml` (the questions) and
`policy.toml` (thresholds, and what follows), which `policy.py` reads.
"""
