"""The signature that lets a version serve, and the question whether one still holds.

Only the district's equity reviewer signs, refuses or rolls back, and only for an audit that the
gate has on record. An alias that was moved by hand opens nothing. Start with `signoff.py`.
"""
