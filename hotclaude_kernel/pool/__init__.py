"""Warm processes: kept where they are likely to be wanted."""
