"""The daily pages of partners' staff: their students, one student, and a plan for few openings.

Start with `students.py`, the caseload; `student.py` is what a line of it leads to, and
`placement.py` plans who gets an opening. All three show only what the viewer's scope holds, and no
page here changes a record: decisions on suggestions are the one thing they store.
"""
