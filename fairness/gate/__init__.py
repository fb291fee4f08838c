"""From comparisons to verdicts: pass, fail, or cannot tell, for each figure and for the model.

The gate takes exact figures and a policy and nothing else; it never takes "not shown to be unfair"
for "fair". The published form of its answers stands here too. Start with `gate.py`.
"""
