"""Finished turns on disk, and in a file beside the notebook."""
