"""How pages are drawn: the Jinja environment in `templates.py`, and numbers for charts in SVG.

The environment escapes everything and fails on a missing value. `charts.py` turns values into
coordinates; style stays in the style sheet and sentences in `serving.wording`.
"""
