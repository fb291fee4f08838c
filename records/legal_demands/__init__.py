"""Subpoenas, warrants, court orders, and bare requests for one student's record.

It owns the register of demands and their release by two persons. A demand is refused until the law
and two administrators say otherwise, and a partner has no way to answer one. Start with
`legal_demands.py`; `legal_documents.py` has the kinds of papers and what each compels.
"""
