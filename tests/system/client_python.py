"""The Python client and its own tests (client/python/tests), against the program under test. It
was written from docs/protocol.md alone: what fails here may be the document."""
import os
import subprocess

import harness
from cluster import Cluster
from netns import WIRE

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


def case_client_at_every_door(case):
    run(case, "test_doors")


def case_c_library_and_python_talk(case):
    run(case, "test_interop")


def case_six_people_over_three_hosts_while_some_die(case):
    """Several stores: a sender's entry may come as an Event, of which `anser up` has none."""
    cluster = Cluster(case, "namespaces").start()
    cluster.add_users(*(f"p{i}" for i in range(6)))
    process = subprocess.Popen(
        [*cluster.wire.prefix(WIRE), "/usr/bin/python3", os.path.join(TESTS, "people.py"),
         cluster.commands, *cluster.urls],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    case.processes.append(process)
    assert process.stdout.readline() == "talking\n", process.stderr.read()
    for actor in ("gate/0", "sequencer/1", "store/1"):
        cluster.kill_actor(actor)
    out, errors = process.communicate(timeout=300)
    words = out.split()
    assert process.returncode == 0 and words[0] == "done" and int(words[1]) > 0, out + errors
    cluster.stop()
