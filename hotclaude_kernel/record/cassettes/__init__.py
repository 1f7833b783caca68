"""A notebook's recorded turns in a text file beside it: written, checked for leaks, read."""
