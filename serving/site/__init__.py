"""What every page and JSON answer has in common: one request, who makes it, and what they see.

`visit.py` is the place to start: a `Visit` is one request of one signed-in person, with the scope
that the agreements give them, the log in which each disclosure is written before it is made, and
the way to render a page. Around it stand what lives as long as the process (`site.py`), what a
route may ask for (`dependencies.py`), the navigation, the security headers and the error pages.
The folder knows no single page and reads no record but through `records.access`.
"""
