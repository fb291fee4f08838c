"""What every other folder stands on: user-facing errors, the clock, files, PDF and progress.

Nothing here knows of students, tables or the law, and nothing here imports another folder. Start
with `errors.py`: an error that inherits `UserError` is shown to the user as it is written.
"""
