"""Who may see which students and categories now, enforced before anything downstream reads them.

Owns the scope, reading tables through it, the copies behind PostgreSQL row-level security as a
second check, and the explanation of each answer. It stores no rule of its own: agreements, consents
and holds belong to `records.permissions`. Start with `scope.py`.
"""
