"""Assigning limited openings: the plan of greatest total benefit, beside a first-come plan, with
group minimums. It knows benefits and capacities only, neither records nor models. All of it is in
`allocation.py`.
"""
