"""Learning which supports help whom, and what programs achieved, from past records.

It reads records through scopes only, never reads a sensitive fact, and serves nothing to anybody.
Start in `episodes`, and follow `ranking` and `evaluation` to `registry`: there
`training/registry/train.py` registers a model.
"""
