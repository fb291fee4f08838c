"""The site: pages for people, the same answers as JSON, and the files that families and courts get.

`app.py` builds the application. From there: `site` is one request and what every answer has in
common, `pages` and `api` are the routes, `services` what both of them call, `students` what is
computed of the students in a scope, `exports` the files that leave, `wording` the sentences and
labels, `rendering` charts and templates. Nothing is shown that `records.access` does not let
through, and nothing of a student before the disclosure log has it.
"""
