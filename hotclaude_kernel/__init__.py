"""A Jupyter kernel whose cells are turns of one live `claude` process."""

from __future__ import annotations

__version__ = "0.1.0"
