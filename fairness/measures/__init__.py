"""What the checks measure: a numerator and a denominator for every student.

One file for each subject: what the model suggests, what the records of the past hold, what staff
saw and did, matched pairs, and how well a sensitive characteristic can be inferred from the inputs.
Nothing here compares groups or judges. Start with `model.py`.
"""
