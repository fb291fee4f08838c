"""What opens a student's record to a partner, and what closes it.

Owns agreements, family consents, opt-outs, legal holds, emergencies and unfinished destructions:
each module owns its table and answers `in_force` for its own rule. None of them combines the rules;
that is `records.access.scope`. Nothing that was once in force is ever deleted. Start with
`agreements.py`.
"""
