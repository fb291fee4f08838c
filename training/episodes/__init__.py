"""What is studied: decision episodes built as of each decision day, the definition of progress, and
the imputation of outcomes that were not observed. It reads no sensitive fact and refuses records
that cannot support a model. Start in `episodes.py`; what counts as progress is in `outcome.py`.
"""
