"""One `claude` process: find it, start it, talk with it."""
