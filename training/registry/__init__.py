"""Registered model versions: training a candidate, its card and provenance, evaluating and
comparing versions, and the MLflow registry that stores them. Nothing here makes a version the
champion; that takes a signed audit. Start in `train.py`; the registry's client is `registry.py`.
"""
