#!/usr/bin/python3
"""Plants one violation of each rule of tests/tidy/tidy in a small tree and sees it found,
and sees a clean tree pass."""
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TIDY = os.path.join(HERE, "tidy")

# rule, file, text that breaks it
PLANTED = (
    ("file-length", "core/a.c", "int a;\n" * 801),
    ("function-length", "core/a.c", "int\nf(void)\n{\n" + "    ;\n" * 71 + "}\n"),
    ("banned-call", "core/a.c", "void f(char *a) { strcpy(a, a); }\n"),
    ("banned-call", "core/a.c", "long f(void) { return time(0); }\n"),
    ("banned-call", "actors/gate/a.c", "void f(void) { clock_gettime(0, 0); }\n"),
    ("banned-call", "core/a.c", "int f(void) { return memcmp(a, secret, 32); }\n"),
    ("include", "proto/a.c", '#include "core/err.h"\n'),
    ("include", "core/a.c", '#include "store/engine.h"\n'),
    ("include", "store/a.c", '#include "core/actor.h"\n'),
    ("include", "actors/gate/a.c", '#include "actors/router/router.h"\n'),
    ("include", "client/a.c", '#include "actors/gate/gate.h"\n'),
    ("include", "core/a.c", "#include <nng/nng.h>\n"),
    ("include", "store/a.c", "#include <lmdb.h>\n"),
    ("include", "core/a.c", "#include <uv.h>\n"),
    ("docstring", "core/a.h", "/* Head. */\n\nint an_a(int b);\n"),
    ("limit-reason", "core/limits.h", "#define AN_A 1u\n#define AN_B 2u /* why */\n"),
    ("sleep-in-test", "tests/a.py", "import time\ntime.sleep(1)\n"),
    ("banned-call", "tests/a.c", "void f(void) { usleep(10); }\n"),
    ("debt", "core/a.c", "/* TODO: later */\n"),
    ("debt", "core/a.c", "/* FIXME */\n"),
    ("host-name", "docs/a.md", "from deb." + "debian.org\n"),
    ("link", "docs/a.md", "see [b](b.md)\n"),
    ("path", "docs/a.md", "see `core/none.c`\n"),
    ("path", "docs/a.md", "see `core/none.{h,c}`\n"),
    ("path", "docs/a.md", "no `test_none.c`, no folder `core/none/`\n"),
    ("path", "docs/a.md", "none of core/none_*\n"),
    ("path", "core/b.c", "/* As\n * none.c does. */\n"),
    ("format", "core/a.c", "int   a  ;\n"),
)

CLEAN = {
    "core/a.h": "/* Adds; never fails. */\nint an_a(int b);\nint an_b(int b);\n",
    "core/a.c": '/* strcpy( in a comment */\nconst char *const a = "sprintf(";\n'
                "/* TODO(ann): issue 7 */\n",
    "core/limits.h": "#define AN_A 1u /* one is enough */\n",
    "actors/gate/b.c": '#include "actors/gate/gate.h"\n#include "core/actor.h"\n',
    "docs/a.md": "see [itself](a.md) and [the web](https://example.org/docs/b.md)\n"
                 "`core/a.{h,c}`, core/a*, core/, b.c; `store/0`, `core/NAME.c` stand for others\n",
}


def tidy(tree):
    """Runs tidy over {path: text}; its exit code and output."""
    with tempfile.TemporaryDirectory() as root:
        shutil.copy(os.path.join(HERE, "..", "..", ".clang-format"), root)
        for path, text in tree.items():
            path = os.path.join(root, path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
        run = subprocess.run([TIDY, "--root", root], capture_output=True, text=True,
                             check=False)
        return run.returncode, run.stdout + run.stderr


def main():
    failed = 0
    code, output = tidy(CLEAN)
    if code != 0:
        failed += 1
        print("a clean tree was blamed:\n" + output)
    for rule, path, text in PLANTED:
        code, output = tidy({path: text})
        if code != 1 or f"{path}:" not in output or f" {rule}: " not in output:
            failed += 1
            print(f"not found: {rule} in {path}: {text[:60]!r}\n{output}")
    print(f"{len(PLANTED) + 1 - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
