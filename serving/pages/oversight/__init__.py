"""Pages that account for access to records: disclosures, emergencies, legal demands, destruction.

Start with `disclosures.py`, the log and the family's report of it. `emergencies.py` and
`legal_demands.py` are the two ways to a record outside agreements, `retention.py` lists what was
destroyed. Destroying itself is done by a command, never by a page.
"""
