"""The Jupyter kernel: its process, its messages, its configuration."""
