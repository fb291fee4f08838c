"""What a district's own words mean: attendance codes, calendar events, grades and their scales.

Owns the tables that come with Handrail, one TOML file for each kind of source, and the district's
own file that adds to them. It refuses a key or a meaning that it does not know, and never guesses
what a code means: a code in no table is not understood, and is counted. Start with `profile.py`.
"""
