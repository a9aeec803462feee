"""Columns in files that are mapped into memory: numbers, and texts that are decoded when they are asked for."""
