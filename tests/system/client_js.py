"""The JavaScript client (client/js) and its own tests, against the program under test. It was
written from docs/protocol.md alone: what fails here may be the document."""
import fcntl
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import conformance
import harness

PACKAGE = os.path.join(harness.TOP, "client", "js")
ADAPTER = os.path.join(conformance.KIT, "adapters", "javascript_client.mjs")
NODE_MIN = 18


def run(words, env=None, timeout=600):
    done = subprocess.run(words, cwd=PACKAGE, env={**os.environ, **(env or {})},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}"
    return done.stdout


def newest(*folders):
    return max((os.path.getmtime(os.path.join(at, name)) for folder in folders
                for at, _, names in os.walk(folder) for name in names), default=0)


def built():
    """The package as `npm run build` makes it. What is there and current is not made again, so that
    a machine without a network needs one only once."""
    node = shutil.which("node")
    if not node or not shutil.which("npm"):
        raise harness.Skip("no node or no npm: ./dev install")
    version = subprocess.run([node, "--version"], stdout=subprocess.PIPE, text=True, check=True)
    if int(version.stdout.strip().lstrip("v").split(".")[0]) < NODE_MIN:
        raise harness.Skip(f"node is {version.stdout.strip()}, the client needs {NODE_MIN}")
    os.makedirs(os.path.join(harness.TOP, "build"), exist_ok=True)
    with open(os.path.join(harness.TOP, "build", "client_js.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # cases run side by side
        wanted = os.path.join(PACKAGE, "package-lock.json")
        installed = os.path.join(PACKAGE, "node_modules", ".package-lock.json")
        if not os.path.exists(installed) or os.path.getmtime(installed) < os.path.getmtime(wanted):
            run(["npm", "ci"])
            os.utime(installed)
        made = os.path.join(PACKAGE, "dist", "index.js")
        if not os.path.exists(made) or os.path.getmtime(made) < max(
                newest(os.path.join(PACKAGE, "src")), os.path.getmtime(installed)):
            run(["npm", "run", "build"])
            os.utime(made)


def tests(case, name):
    built()
    out = run(["node", "--test", "--test-reporter=tap", f"tests/{name}.test.mjs"],
              env={"ANSER": case.anser, "TMPDIR": case.dir})
    assert "\n# fail 0\n" in out and "\n# pass 0\n" not in out, out


def case_pieces_without_a_server(case):
    tests(case, "pieces")


def case_client_against_a_server(case):
    tests(case, "client")


def case_servers_that_end_and_come_back(case):
    tests(case, "restart")


def case_c_library_and_javascript_talk(case):
    tests(case, "interop")


def case_two_clients_of_a_page_in_chromium(case):
    if not shutil.which("chromium"):
        raise harness.Skip("no chromium: ./dev install")
    tests(case, "browser")


def case_Z10_javascript_client_breaks_no_rule_over_websocket(case):
    built()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda door: conformance.passes(ADAPTER, door=door), ("ws", "wss")))


def case_tables_are_those_of_the_documents(case):
    built()
    run(["node", "scripts/generate.mjs", "--check"])


def case_readme_is_followed(case):
    """Its first program, with the package where npm would have put it."""
    built()
    with open(os.path.join(PACKAGE, "README.md"), encoding="utf-8") as f:
        program = f.read().split("```js\n")[1].split("```")[0]
    assert "ws://127.0.0.1:7402" in program
    node = case.new_node()
    node.listen = "tcp://127.0.0.1:0,ws://127.0.0.1:0"
    node.start().add_users("alice", "bob")
    host, port = node.doors["ws"]
    folder = case.new_dir("program")
    os.makedirs(os.path.join(folder, "node_modules"))
    os.symlink(PACKAGE, os.path.join(folder, "node_modules", "anser-client"))
    program = program.replace("ws://127.0.0.1:7402", f"ws://{host}:{port}")
    with open(os.path.join(folder, "first.mjs"), "w", encoding="utf-8") as f:
        f.write(f"const token = process.argv[2];\n{program}")
    out = run(["node", os.path.join(folder, "first.mjs"), node.token("alice")])
    for line in ("connecting", "online", "closed"):
        assert f"{line} \n" in out, out
    assert [message["text"] for message in node.recv("bob", 1)] == ["你好, bob"], out
    node.stop()
