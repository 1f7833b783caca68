"""Markdown as it streams: cut into blocks, and each block drawn as safe HTML."""
