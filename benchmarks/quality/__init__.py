"""How well the ranking finds what helps: worlds whose truth is known, rivals, and real randomised
data.
"""
