"""The staff of the district and its partners: who signs in, for how long, and in which role.

It owns staff accounts, passwords, browser sessions, the check for an active district administrator,
and notices to the district. It does not decide what anybody may see: `records.access` fills a
`Scope`, which is only defined here. Start with `viewer.py` and `accounts.py`.
"""
