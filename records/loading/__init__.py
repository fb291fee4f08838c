"""Loading: a source read into a new immutable snapshot, and what was odd about it.

Owns staging a connector's rows, resolving duplicates and conflicts, carrying over what a load does
not bring, and the load history with its warnings. Refuses two loads at once and half a load. It
knows no source's format: that is a connector's. Start with `load.py`.
"""
