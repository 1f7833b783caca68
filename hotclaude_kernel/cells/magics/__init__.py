"""The `%` lines: their names, and a module for each group of them."""
