"""The page in Notebook 7, in Chromium."""

from __future__ import annotations

import pytest

from .frontend import NOTEBOOK_7
from .pages import PageTests

pytestmark = pytest.mark.browser


class TestNotebook7(PageTests):
    front = NOTEBOOK_7
