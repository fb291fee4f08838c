"""Scoped records turned into student features and early alerts."""
