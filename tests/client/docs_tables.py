#!/usr/bin/python3
"""The tables of docs/protocol.md and docs/sdk.md come from the headers: this compares them,
or writes them with --write."""
import os
import re
import sys

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        return f.read()


def rows(path, pattern):
    """Every X(...) of a header, its continued lines joined."""
    found = re.findall(pattern, re.sub(r"\s*\\\n\s*", " ", read(path)))
    assert len(found) > 10, f"no table found in {path}"
    return found


def words(name):
    return name.lower().replace("_", " ")


def errors():
    table = ["| number | name | category | handling | |", "|---|---|---|---|---|"]
    for number, name, category, handling, text in rows(
            "core/err.h", r'X\((\d+), (\w+), (\w+), (\w+),\s*"([^"]*)"\)'):
        if number != "0":
            table.append(f"| {number} | {name} | {words(category)} | {words(handling)} | {text} |")
    return "\n".join(table)


def limits():
    table = ["| limit | value | |", "|---|---|---|"]
    for name, value, why in rows("client/limits.h", r'X\((\w+), ([0-9 *]+),\s*"([^"]*)"\)'):
        # Products of literals; nothing else matches the pattern.
        number = 1
        for factor in value.split("*"):
            number *= int(factor)
        table.append(f"| {name} | {number:,} | {why} |")
    return "\n".join(table)


def place(path, mark, table):
    """The page with the table between its marks."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    page = read(path)
    assert begin in page and end in page, f"{path} has no place for the {mark}"
    head, rest = page.split(begin)
    tail = rest.split(end)[1]
    return page, f"{head}{begin}\n{table}\n{end}{tail}"


def main():
    stale = []
    for path, mark, table in (("docs/protocol.md", "errors", errors()),
                              ("docs/sdk.md", "limits", limits())):
        have, want = place(path, mark, table)
        if have == want:
            continue
        stale.append(path)
        if "--write" in sys.argv:
            with open(os.path.join(TOP, path), "w", encoding="utf-8") as f:
                f.write(want)
    if stale and "--write" not in sys.argv:
        sys.exit(f"{', '.join(stale)}: a table is stale; run tests/client/docs_tables.py --write")


main()
