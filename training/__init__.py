"""Benefit models: episodes, propensities, doubly robust pseudo-outcomes, off-policy value,
registry.
"""
