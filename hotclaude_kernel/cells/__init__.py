"""The contents of a cell, and running it, without ZMQ."""
