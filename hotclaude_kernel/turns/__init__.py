"""A turn as a value: what was asked, under what, what came of it, its name, its place."""
