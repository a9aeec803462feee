"""The formats in which people have corpora on disk, one reader for each; `recognise` finds the one of a folder or file.

A reader streams rows (rows.py) and reads no audio. The source `Manifest` turns rows into raw examples.
"""
