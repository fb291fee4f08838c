"""Everything that arrives from the district and its partners, and who may see it.

Owns the canonical tables, the connectors and loads that fill them, the operational database,
agreements and consents, the disclosure log, and destruction. No student record leaves it except
through a `Scope`, and it knows nothing of features, models or pages. Start with `access` for how a
student is read, `canonical` for what is stored, and `loading` for how it arrives.
"""
