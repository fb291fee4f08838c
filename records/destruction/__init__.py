"""Destroying a student's record, or what an agreement made, in every store, with a certificate.

It owns what is removed and how, the list of backups that may still hold a copy, and the
certificates. It destroys nothing without a district administrator, nor while a legal hold lasts.
Start with `destruction.py`; `inventory.py` names every store.
"""
