"""An audit for readers: a page, a PDF, charts, and the Fairness section of a model card.

Everything is drawn from the stored audit alone, so a report can be made again at any time and shows
nothing that the audit does not hold. It judges nothing. Start with `report.py`; `wording.py` has
the words.
"""
