"""Containers of audio: modules that compare the lengths and checksums in a file with its bytes, before it is decoded.

libsndfile decodes a truncated file of most formats without an error, and of a chained Ogg file only the first link.
"""
