"""The message classes of proto/client.proto, made by protoc.

The generated module is no part of the sources. Where `client_pb2.py` lies beside this file (an
installed package: `python3 -m anser.schema` puts it there), it is used. In the repository it is
made anew at each import, in memory, so it can never be older than the schema.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_PROTO = "proto/client.proto"


def _root() -> Path | None:
    for directory in _HERE.parents:
        if (directory / _PROTO).is_file():
            return directory
    return None


def generate(root: Path) -> str:
    """The text of the generated module."""
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            ["protoc", f"-I{root}", f"--python_out={out}", str(root / _PROTO)],
            check=True,
            stdin=subprocess.DEVNULL,
        )
        return (Path(out) / _PROTO).with_name("client_pb2.py").read_text()


def _load() -> Any:
    root = _root()
    if root is None:
        return importlib.import_module("anser.client_pb2")
    module = types.ModuleType("anser.client_pb2")
    exec(compile(generate(root), "client_pb2.py", "exec"), module.__dict__)
    sys.modules[module.__name__] = module
    return module


if __name__ == "__main__":
    _found = _root()
    if _found is None:
        sys.exit(f"there is no {_PROTO} above {_HERE}")
    (_HERE / "client_pb2.py").write_text(generate(_found))
else:
    pb: Any = _load()
