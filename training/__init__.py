"""Learning which supports help whom, and what programs achieved, from past records. It reads
records through scopes only, never reads a sensitive fact, and serves nothing to anybody. Start in
`episodes/episodes.py`, follow `ranking/ranker.py` and `evaluation/evaluate.py` to
`registry/train.py`.
"""
