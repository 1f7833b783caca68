"""What stands in a cell, and running it, without ZMQ."""
