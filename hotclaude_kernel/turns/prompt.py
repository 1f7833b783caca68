"""A prompt: its text, and the images that go with it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from ..claude.frames import Frame


class Attachment(Struct, frozen=True, kw_only=True):
    """An image that goes with a prompt."""

    name: str
    media_type: str
    data: bytes

    @property
    def block(self) -> Frame:
        """The image as a content block."""
        encoded = base64.b64encode(self.data).decode("ascii")
        source = {"type": "base64", "media_type": self.media_type, "data": encoded}
        return {"type": "image", "source": source}


class Prompt(Struct, frozen=True, kw_only=True):
    """A prompt: the text that is sent, its images, and the id of its cell (`None` if unknown)."""

    text: str
    cell_id: str | None = None
    attachments: tuple[Attachment, ...] = ()

    @property
    def content(self) -> str | list[Frame]:
        """The content of the user frame: the text, or a list of blocks if there are images."""
        if not self.attachments:
            return self.text
        return [{"type": "text", "text": self.text}, *(a.block for a in self.attachments)]
