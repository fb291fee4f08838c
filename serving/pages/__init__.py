"""The routes that answer with a page: read the request, ask a service or a room, fill a template.

`front.py` and `sign_in.py` are for everybody; `casework` is for partners' staff, `district`,
`oversight` and `models` for the district's. `forms.py` and `pager.py` hold what several pages use.
A page computes nothing that the JSON API needs too (that is in `serving.services`), and names a
student only after the disclosure is logged.
"""
