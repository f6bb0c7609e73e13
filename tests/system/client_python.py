"""The Python client and its own tests (client/python/tests), against the program under test. It
was written from docs/protocol.md alone: what fails here may be the document."""
import os
import subprocess

import harness

TESTS = os.path.join(harness.TOP, "client", "python", "tests")


def run(case, module):
    env = {**os.environ, "ANSER": case.anser, "TMPDIR": case.dir}
    done = subprocess.run(["/usr/bin/python3", "-m", "unittest", module], cwd=TESTS, env=env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=600, check=False)
    assert done.returncode == 0 and "\nRan 0 tests" not in done.stdout, done.stdout


def case_pieces_without_a_server(case):
    run(case, "test_pieces")


def case_client_against_a_server(case):
    run(case, "test_client")


def case_servers_that_end_and_come_back(case):
    run(case, "test_restart")


def case_c_library_and_python_talk(case):
    run(case, "test_interop")
