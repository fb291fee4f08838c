"""Mock servers made from official API documents; start with `prism.py`."""
