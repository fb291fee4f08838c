"""How often the fairness gate detects a bias of known size, and how often it passes a fair model.

`generated_districts.py` makes demo districts and injects biases into their files;
`injected_bias.py` asks whether the gate detects each. It never judges a real district's records.
Run `python -m benchmarks.fairness`.
"""
