"""The `hotclaude` command: a module for each group of commands."""
