"""How many examples hypothesis tries, and values that several tests draw.

The everyday run tries few: a property that broke is mostly found within a day's runs, since each
run draws others. `HYPOTHESIS_PROFILE=thorough` tries more; it is the default in CI.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

PROFILES = {"everyday": 20, "thorough": 100}


def load_profile() -> None:
    """Choose how many examples each property is tried with."""
    name = os.environ.get("HYPOTHESIS_PROFILE", "thorough" if os.environ.get("CI") else "everyday")
    settings.register_profile(
        name,
        max_examples=PROFILES[name],
        deadline=None,  # the machine may be busy
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile(name)


def times(factor: float) -> settings:
    """Return settings for so many times the examples of the profile."""
    return settings(max_examples=int(settings().max_examples * factor))


any_text = st.text(st.characters(exclude_categories=[]), max_size=30)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(any_text, json_values, max_size=6)
