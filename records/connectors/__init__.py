"""Connectors: each reads one kind of source and passes canonical rows to a `RowSink`.

Owns reading, checking and quarantining; writes nothing to a source, and no snapshot (that is
`records.loading`). Start with `protocol.py`, then a small connector such as
`partner_files/service_history.py`.
"""
