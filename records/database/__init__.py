"""The operational database: agreements, accounts, consents, decisions and the disclosure log.

Owns the tables, their migrations and opening them on SQLite or PostgreSQL. It holds no rules: what
a row means belongs to the folder that writes it. Student records are not here; they are in
snapshots. Start with `tables.py`.
"""
