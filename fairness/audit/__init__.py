"""The audit of one model: every check, verdict, proxy and trade-off in one signed-for document.

An audit is made once and never changed; it holds no student and no small number, and knows by
digests what it was made from. It lets nothing serve: that is for `fairness.approval`. Start with
`audit.py`.
"""
