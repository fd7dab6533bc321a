"""The benchmark: `cases` and `rivals` say what is measured, `runner` measures, `report` shows.

Nothing of it is imported by the library.
"""
