"""The ranker of supports: its training, the calibration of its benefits, the suggestions or the
abstention that follow, and its file. It never opens a file whose digest does not match. Start in
`ranker.py`, then `suggestions.py`.
"""
