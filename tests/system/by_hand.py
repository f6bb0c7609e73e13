"""docs/by-hand.md, typed as it stands, in a network namespace whose ports are all free: what
the page shows below a command is what has to come. websocat's sessions are a case of their
own, since Debian does not have it."""
import os
import re
import shutil

from harness import Skip, TOP, await_that
from netns import Wire
from operations import Shell, pattern, read, steps

PAGE = os.path.join(TOP, "docs", "by-hand.md")
TOOLS = ("nc", "curl", "openssl")
# Whoever types waits for the answer; the page waits a second, which a busy machine may need more of.
SLEEP = "#!/bin/sh\nexec /bin/sleep $((3 * $1))\n"


class Desk:
    """Two terminals in one directory."""

    def __init__(self, case):
        self.wire = Wire(case, ("a",))
        self.dir = case.new_dir("desk")
        tools = case.new_dir("tools")
        env = dict(os.environ, HOME=self.dir,
                   PATH=f"{tools}:{os.path.dirname(case.anser)}:{os.environ['PATH']}")
        for name in ("ANSER_CLUSTER", "ANSER_DATA"):
            env.pop(name, None)
        with open(os.path.join(tools, "sleep"), "w", encoding="utf-8") as f:
            f.write(SLEEP)
        os.chmod(os.path.join(tools, "sleep"), 0o700)
        self.shells = {name: Shell(case, self.wire.prefix("a"), env, self.dir)
                       for name in ("node", "you")}
        self.log = os.path.join(self.dir, "up.log")

    def follow(self, host, command, shown):
        if command.startswith("anser up "):
            self.shells[host].type(f"{command} >up.log 2>&1 &")
            await_that("the node", lambda: os.path.exists(self.log) and
                       "\nanser ready " in "\n" + read(self.log))
            text = read(self.log)
        else:
            code, text = self.shells[host].type(command)
            assert code == 0, f"{host}$ {command}\n-> exit {code}\n{text}"
        for line in shown:
            assert not line.strip() or re.search(pattern(line), re.sub(r"[ \t]+", " ", text)), \
                f"{host}$ {command}\ndoes not show: {line}\nbut:\n{text}"

    def end(self):
        code, text = self.shells["node"].type("kill %1; wait %1")
        assert code == 0, (code, text, read(self.log))


def parts():
    """The page's steps before and behind its mark."""
    found = steps(read(PAGE))
    mark = next(i for i, step in enumerate(found) if step[0] == "test")
    assert found[mark][1] == "websocat"
    return found[:mark], found[mark + 1:]


def need(*tools):
    for tool in tools:
        if shutil.which(tool) is None:
            raise Skip(f"no {tool}")


def case_C4_the_page_typed_as_it_stands(case):
    need(*TOOLS)
    desk, (page, _) = Desk(case), parts()
    for step in page:
        desk.follow(*step)
    desk.end()


def case_C4_websocat_typed_as_it_stands(case):
    """Behind the rest, whose messages and functions it goes on with."""
    need(*TOOLS, "websocat")
    desk, (page, more) = Desk(case), parts()
    for step in page:
        if "curl -si" not in step[1]:
            desk.follow(*step)
    assert len(more) == 2, more
    for step in more:
        desk.follow(*step)
    desk.end()
