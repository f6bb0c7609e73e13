#!/usr/bin/python3
"""Leads a client through the scripts of the conformance kit and says which rules of
docs/protocol.md it broke. README.md beside this file says how to write its adapter.

    conform.py [--only NAME] [--door SCHEME] [--list] [--verbose] -- ADAPTER [ARGUMENT...]

Ends with 0 when no rule was broken, 1 when one was, 2 when it could not be run."""
import argparse
import asyncio
import os
import sys
import tempfile

from doors import DOORS, Door
from rules import ADVICE, RULES
from schema import load_proto
from scripts import AT, SCRIPTS
from stage import Stage, Stop


async def play(pb, name, args):
    """[(rule, what)] that one script found broken."""
    with tempfile.TemporaryDirectory(prefix="conform-") as folder:
        stage = Stage(pb, args.adapter, folder, Door(args.door, folder), args.patience, args.verbose)
        try:
            await SCRIPTS[name](stage)
        except Stop:
            pass
        finally:
            stage.close()
        await asyncio.sleep(0)
        return stage.broken


def run(args):
    broken = {}
    names = [name for name in SCRIPTS if args.only in name and args.door in AT.get(name, DOORS)]
    if not names:
        sys.exit(f"no script at this door has {args.only!r} in its name")
    with tempfile.TemporaryDirectory(prefix="conform-proto-") as folder:
        pb = load_proto(folder)
        for name in names:
            found = asyncio.run(play(pb, name, args))
            bad = any(rule not in ADVICE for rule, _ in found)
            print(f"{'BROKE' if bad else 'ok   '} {name}: {SCRIPTS[name].__doc__}", flush=True)
            for rule, what in found:
                print(f"      {rule}: {what}", flush=True)
                broken.setdefault(rule, []).append(name)
    for rule, scripts in broken.items():
        section, text = RULES[rule]
        where = f"docs/protocol.md, {section!r}" if section else "client/conformance/README.md"
        word = "advice" if rule in ADVICE else "rule"
        print(f"{word} {rule}: {text}\n     {where}; scripts: {', '.join(scripts)}")
    count = sum(rule not in ADVICE for rule in broken)
    print(f"{len(names)} scripts, {count} rules broken")
    return 1 if count else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--only", default="", help="scripts whose name contains this")
    parser.add_argument("--door", choices=DOORS, default="tcp", help="how the client comes in")
    parser.add_argument("--list", action="store_true", help="names the scripts and the rules")
    parser.add_argument("--verbose", action="store_true", help="shows what the adapter prints")
    parser.add_argument("--patience", type=float, default=1.0,
                        help="waits so many times longer; for slow machines")
    parser.add_argument("adapter", nargs="*")
    args = parser.parse_args()
    if args.list:
        for name, function in SCRIPTS.items():
            print(f"{name}: {function.__doc__}")
        for rule, (section, text) in RULES.items():
            print(f"rule {rule} ({section}): {text}")
        return 0
    if not args.adapter:
        parser.error("which adapter?")
    args.adapter = [os.path.abspath(word) if os.path.exists(word) else word
                    for word in args.adapter]
    try:
        return run(args)
    except OSError as error:  # no such adapter, no protoc, no port
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
