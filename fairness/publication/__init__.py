"""What may be published of an audit, so that no small number of students follows from it.

Measures become linked tables of counts, `records.suppression` says which cells to suppress, and the
exact comparisons become published findings. It decides no verdict. Start with `publishing.py`; what
may be shown of a change of alert rules is in `alert_changes.py`.
"""
