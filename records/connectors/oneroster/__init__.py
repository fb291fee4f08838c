"""OneRoster sources: CSV exports (bulk and delta) and the API, normalized by one set of rules.

Owns what a OneRoster record means in the canonical tables; reads no users but students. Start with
`rules.py`; `files.py` and `api.py` feed it.
"""
