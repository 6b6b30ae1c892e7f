"""Rows in order: by counting, by selecting, by digits."""
