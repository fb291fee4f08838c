"""The one shape in which student data is stored, and what is never stored at all.

Owns the canonical tables with the data category of every column, the conversion of source text to
typed values, and the list of fields that are dropped before anything reaches a disk. It reads no
file and no database, and it never guesses at a value. Start with `schema.py`.
"""
