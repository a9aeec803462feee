"""The prepared corpus on disk: written, checked, opened."""
