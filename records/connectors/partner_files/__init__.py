"""Files that partner organizations send: service history, lists of participants, HMIS exports.

Owns how a partner's own columns and codes become programs, enrollments and sessions; does not
decide which student a participant is (that is `records.identity`), and stores nothing about
non-students. Start with `service_history.py` and `mapping.py`.
"""
