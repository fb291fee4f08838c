"""Keeping small numbers of students from being published.

This folder owns the smallest number that may be shown, how numbers are rounded, and the proof that
no smaller one follows from everything that is shown together. It reads no records and does not know
what a figure is about. Start with `small_numbers.py`.
"""
