"""Profiles of programs: from the events of a traced tile to tables and pictures.

`recording` is what a device collects; `timeline` turns it into `spans`; `table`, `chrome` and
`picture` show them. docs/profile.md says how to read what they show.
"""
