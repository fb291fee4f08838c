"""Files that leave the site: the family's disclosure report, legal releases, CSV.

`disclosure_report.py` is the place to start: one report, as page, PDF, CSV and text.
`legal_release.py` makes the archive that answers an approved legal demand and logs it first;
`csv_export.py` keeps spreadsheets from running what a cell holds. No file holds more than the scope
it was made from.
"""
