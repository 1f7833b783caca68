"""The conditions of a replay: what an answer depended on beside its question."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - a journal is decoded by these types

from msgspec import Struct, field


class Conditions(Struct, frozen=True, kw_only=True):
    """The files that a prompt pulled in, and the endpoint that answered.

    `files` maps a path to the sha256 of its content when the prompt was asked, `None` for a file
    that did not exist. `after` maps the files that changed during the turn to their content at its
    end. `noted` are the user's own instructions and memory: they are no condition. `endpoint` is
    the origin of the API, `None` if unknown.
    """

    files: Mapping[str, str | None] = field(default_factory=dict)
    after: Mapping[str, str | None] = field(default_factory=dict)
    noted: Mapping[str, str | None] = field(default_factory=dict)
    endpoint: str | None = None


NONE = Conditions()


class Candidate(Struct, frozen=True, kw_only=True):
    """A recorded turn that answers a question, and where it is from.

    `source` is `record` (the notebook's own), `cassette` (beside it), `outputs` (it stands in the
    notebook's saved outputs) or `folder` (of another notebook there). `name` is the file name of
    the cassette or of the other notebook, empty if unknown. `origin` is the row of the notebook
    whose conditions these are. `later` maps each file to the contents that this turn and later
    turns of that notebook left it with.
    """

    node: str
    source: str
    name: str = ""
    origin: int = 0
    conditions: Conditions = NONE
    later: Mapping[str, frozenset[str | None]] = field(default_factory=dict)
