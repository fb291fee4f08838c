"""What people decided about suggestions, models and programs, and what they were shown then.

Owns caseworkers' decisions, the suggestion lists as they were shown, the exploration setting,
gate results with reviewers' signatures, and what programs cost. Nothing here changes a record of a
student, and no suggestion is computed here. Start with `decisions.py`.
"""
