"""What is computed of the students in one scope: roster, record, alerts, ranked suggestions.

Everything here is a function of `ScopedRecords`, so nothing out of scope can reach an answer. Start
with `caseload.py`; it uses `suggestion_order.py` and `suggestion_reasons.py`. `record.py` and
`roster.py` read one student and all of them. No module knows a request, a page or a log.
"""
