"""What pages and the JSON API share: each answer is computed here once and shown by both.

A service takes a `Visit` and gives back values, never a response. It logs a disclosure where the
values name students, so that no caller can forget it. Start with `decisions.py`, the smallest one
that changes something. What only one page needs stays in that page.
"""
