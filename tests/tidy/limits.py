#!/usr/bin/python3
"""Compares the table of docs/limits.md with core/limits.h: every limit with its default
and its reason. --write makes the table."""
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADER = os.path.join(TOP, "core/limits.h")
PAGE = os.path.join(TOP, "docs/limits.md")
BEGIN, END = "<!-- limits: begin -->\n", "<!-- limits: end -->\n"
TOKEN = re.compile(r"^/\* ([^*]+?)\. \*/$|^#define (AN_(?!CORE_LIMITS_H)\w+)\s+([^/]*?)\s*/\*(.*?)\*/", re.M | re.S)


def limits(text):
    """[(group, name, value, reason)]; ValueError names what has no reason."""
    group, found = "", []
    text = re.sub(r"[ \t]*\\\n", "\n", text)  # lines that go on
    for match in TOKEN.finditer(text):
        if match.group(1):
            group = match.group(1)
        else:
            reason = re.sub(r"\s+(\* )?", " ", match.group(4)).strip(" *")
            found.append((group, match.group(2), number(match.group(3)), reason))
    defined = set(re.findall(r"^#define (AN_\w+)", text, re.M)) - {"AN_CORE_LIMITS_H"}
    without = defined - {name for _, name, _, _ in found}
    if without:
        raise ValueError(f"core/limits.h: no reason: {', '.join(sorted(without))}")
    return found


def number(value):
    """1,048,576 for (1024u * 1024u)."""
    plain = re.sub(r"(\d)(u|ull)\b", r"\1", value).replace("AN_BODY_LEN_MAX", "65536")
    if not re.fullmatch(r"[\d\s()+*]+", plain):
        raise ValueError(f"core/limits.h: no number: {value}")
    return f"{eval(plain):,}"  # pylint: disable=eval-used  # digits and signs only


def table(found):
    lines, last = [], None
    for group, name, value, reason in found:
        if group != last:
            lines += ["", f"**{group}**", "", "| limit | default | |", "|---|---:|---|"]
            last = group
        lines.append(f"| `{name}` | {value} | {reason.replace('|', ' ')} |")
    return "\n".join(lines).lstrip("\n") + "\n"


def main():
    with open(HEADER, encoding="utf-8") as f:
        made = table(limits(f.read()))
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    head, rest = page.split(BEGIN)
    was, tail = rest.split(END)
    if sys.argv[1:] == ["--write"]:
        with open(PAGE, "w", encoding="utf-8") as f:
            f.write(head + BEGIN + made + END + tail)
    elif was != made:
        sys.exit("docs/limits.md is not what core/limits.h says: tests/tidy/limits.py --write")


if __name__ == "__main__":
    try:
        main()
    except ValueError as why:
        sys.exit(str(why))
