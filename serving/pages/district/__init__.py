"""Pages with which district staff run data sharing: agreements, consents, matches, data loads.

Start with `agreements.py`, which partners read too, for their own agreements. The other pages are
the district's alone: `consents.py`, `identity_matches.py`, `data_loads.py` and `notices.py`. None
of them deletes anything; what was revoked or undone stays on record.
"""
