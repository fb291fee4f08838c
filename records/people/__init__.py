"""Who signs in, and the values that say what a person may see.

Owns staff accounts, passwords and browser sessions, the check for an active district administrator,
and notices to the district. It does not decide what anybody may see: `records.access` fills a
`Scope`, which is only defined here. Start with `viewer.py`.
"""
