"""Figures that are measured and reported in docs/benchmarks.md; no test asserts any of them.

Each module is one benchmark and prints a table. All run the same way, from the root of the
repository: `.venv/bin/python -m benchmarks.NAME`, for example `-m benchmarks.end_to_end`. A time
always comes with that of a reference in the same run, because machines differ and ratios carry
over. Nothing here is installed, and no other folder imports it. Start with `end_to_end.py`.
"""
