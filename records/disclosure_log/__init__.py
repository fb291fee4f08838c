"""The disclosure log: who saw which student's record, when, and on what legal basis.

Owns writing the log before anything is shown, the limits on how much one person may see, reading
it for families and the district, and verifying that no row was changed. Refuses to hold a name or a
value of a record, and to edit or delete a row. Start with `disclosures.py`, which writes; then
`history.py`, which reads, and `verification.py`.
"""
