"""Where a device stands in its inbox, kept over restarts."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass
class Position:
    """The entries below `next` are safely ours. `marks`: what has still to be told to the server,
    for each peer the highest number received from them."""

    generation: int = 0
    next: int = 1
    marks: dict[str, int] = field(default_factory=dict)


class CursorStore(Protocol):
    """What a client keeps its position in. With a database of your own, let `load` read the position
    from it and `save` do nothing: you have written it together with the message."""

    def load(self) -> Position | None: ...

    def save(self, position: Position) -> None: ...


class FileCursor:
    """The position of one user's device in one small file, replaced as a whole."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def load(self) -> Position | None:
        try:
            kept = json.loads(self.path.read_text())
        except FileNotFoundError:
            return None
        return Position(int(kept["generation"]), int(kept["next"]), dict(kept["marks"]))

    def save(self, position: Position) -> None:
        text = json.dumps(
            {"generation": position.generation, "next": position.next, "marks": position.marks}
        )
        beside = self.path.with_name(self.path.name + ".new")
        with open(beside, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self.path)
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
