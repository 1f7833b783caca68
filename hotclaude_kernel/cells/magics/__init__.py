"""The `%` lines, by what they are about."""
