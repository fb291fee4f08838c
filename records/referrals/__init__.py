"""Referrals: a student proposed for a program of a partner, followed to what came of it.

`states.py` says which states there are, who moves a referral from one to the next and for which
reasons; `referrals.py` keeps each referral and every step of it. A referral that is open is a
ground on which its receiver sees the student (`records.access.scope`).
"""
