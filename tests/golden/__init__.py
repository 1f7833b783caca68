"""Notebooks, cassettes and a record as the first versions made them; see `tests/test_golden.py`."""
