"""Ed-Fi sources: interchange XML files and the ODS/API, normalized by one set of rules.

Owns what an Ed-Fi record means in the canonical tables; never reads names of reporters, narratives,
addresses, health or migrant records. Start with `rules.py`; `files.py` and `api.py` feed it, and
`descriptors.py` says what codes mean.
"""
