"""The audit that a candidate model must pass, and the signature that lets it serve.

This room compares how groups of students fare, decides whether a version may be used, and keeps
the reviewer's decision. It alone reads sensitive characteristics, and only figures of large enough
groups leave it. It changes no model and no student's suggestions. Start with `audit`, which runs
everything else, and `policy`, which says what is fair enough.
"""
