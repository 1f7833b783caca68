"""The makers of the example notebooks; `python -m examples.make_gallery` runs one."""
