"""Changes to the record: done in order by one thread, and written down while they must wait."""
