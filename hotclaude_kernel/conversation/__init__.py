"""Where a prompt is asked; asking it, live or from the record."""
