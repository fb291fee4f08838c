"""The law's claims on a record: destroying it, with a certificate, and legal demands for it.

Owns the destruction of a student's record in every store, the list of backups, certificates, and
the register of subpoenas and other demands with their two-person release. It does not decide who
may see a record from day to day, and it never destroys or releases anything without a district
administrator. Start with `destruction.py` and `legal_demands.py`.
"""
