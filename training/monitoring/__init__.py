"""What is watched once a model serves: drift reports, what randomized list order was worth, and how
a challenger's unseen lists differ. It changes no model and publishes no small counts. Start in
`drift_report.py`.
"""
