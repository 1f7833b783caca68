"""Notebook files without a page: run, verify, check, export."""
