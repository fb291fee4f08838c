"""Immutable snapshots of the canonical tables on disk.

Owns reading the current snapshot, replacing it atomically, rewriting it without one student, and
running compiled queries on it. Nothing here filters by viewer: outside `records` student tables are
read through `records.access.scoped_records`. Start with `snapshot.py`.
"""
