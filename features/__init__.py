"""Scoped records turned into numbers about a student and into early alerts. What a viewer may not
see is missing before anything is computed, and no sensitive fact is ever a feature. Start in
`catalog.toml` and `build.py`; alerts are declared in `alerts.toml`,
or in a district's own file, read by `alerts.py`.
"""
