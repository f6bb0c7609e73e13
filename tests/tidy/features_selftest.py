#!/usr/bin/python3
"""The check of the features' table, over copies in which something is wrong."""
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
CASE = "def case_R3_the_server_answers_for_an_offline_receiver("
# File, text, what stands there instead, words of the complaint.
PLANTS = (
    ("docs/testing.md", "`features.R3_the_server_answers_for_an_offline_receiver`", "",
     "is not in the table"),
    ("tests/system/features.py", CASE, "def case_answers(", "R3: no test features.R3_the"),
    ("tests/system/features.py", CASE, "def case_E1_answers(", "E1 is carried by"),
    ("tests/actors/test_idgen.c", "_i4_", "_", "I4 has no test"),
    ("docs/testing.md", "\n| I4 |", "\n| Z9 |", "I4 has no line"),
)


def run(top):
    done = subprocess.run(["/usr/bin/python3", os.path.join(HERE, "features.py"), top],
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def main():
    for path, old, new, words in PLANTS:
        with tempfile.TemporaryDirectory() as top:
            shutil.copytree(os.path.join(TOP, "tests"), os.path.join(top, "tests"),
                            ignore=lambda folder, names: [n for n in names if n == "corpus_gate"])
            os.mkdir(os.path.join(top, "docs"))
            shutil.copy(os.path.join(TOP, "docs", "testing.md"), os.path.join(top, "docs"))
            code, said = run(top)
            assert code == 0, said
            with open(os.path.join(top, path), "r+", encoding="utf-8") as f:
                text = f.read()
                assert old in text, (path, old)
                f.seek(0)
                f.truncate()
                f.write(text.replace(old, new))
            code, said = run(top)
            assert code == 1 and words in said, (words, code, said)
    return 0


sys.exit(main())
