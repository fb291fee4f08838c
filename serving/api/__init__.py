"""The JSON answers under /api/v1, for whoever is signed in, with the same scope as the pages.

`v1.py` holds the routes and `schemas.py` the shape of each answer. The API imports no page: what
both need is in `serving.services`. Field names are a published interface and stay as they are.
"""
