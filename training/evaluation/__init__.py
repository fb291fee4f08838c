"""What a ranker is worth: its evaluation on held-out episodes, its comparison with the champion,
and how students have drifted from those it was trained on. It publishes no small counts and trains
nothing but holdout models. Start in `evaluate.py`.
"""
