#!/usr/bin/python3
"""Rows of the feature list and the tests named after them: compares the tree with the table
of docs/testing.md, or writes its names with --write.

A system case carries its codes behind case_ (`case_R2_R3_marks_of_delivery`), a unit test
behind its module, in lower case (`test_idgen_i4_low_bits_are_uniform`). Every row that is
owed has a line in the table and at least one test, every test with a code is in the line of
that code, and the table names no other."""
import glob
import os
import re
import sys

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
PAGE = os.path.join("docs", "testing.md")
BEGIN, END = "<!-- features: begin -->", "<!-- features: end -->"
OWED = ("C1 C2 C3 C4 C5 C6 C8 C9 C10 C11 C12 C13 A1 A2 A3 A4 A6 A7 A8 A13 M1 M3 M5 M6 P2 R1 R2 R3 R4 R6 R7 R8 R9 R10 R11 "
        "T1 T2 T3 T6 T10 T12 T13 X1 X2 X3 X4 X6 L1 L6 L7 S1 S6 I1 I2 I3 I4 I5 Q1 Q2 Q3 Q4 Y1 Y2 Y4 Z4 Z5 Z6 Z10").split()
CASE = re.compile(r"^def case_((?:[A-Z]\d+_)+)(\w+)\(", re.M)
UNIT = re.compile(r"cmocka_unit_test\w*\(\s*(test_[a-z]+_((?:[a-z]\d+_)+)\w+)")


def named_tests(top):
    """{code: names of the tests that carry it}, as the table writes them."""
    found = {}
    for path in sorted(glob.glob(os.path.join(top, "tests", "system", "*.py")) +
                       glob.glob(os.path.join(top, "tests", "chaos", "*.py"))):
        with open(path, encoding="utf-8") as f:
            for codes, rest in CASE.findall(f.read()):
                name = f"{os.path.basename(path)[:-3]}.{codes}{rest}"
                for code in codes.strip("_").split("_"):
                    found.setdefault(code, []).append(name)
    for path in sorted(glob.glob(os.path.join(top, "tests", "*", "test_*.c"))):
        with open(path, encoding="utf-8") as f:
            for name, codes in UNIT.findall(f.read()):
                for code in codes.strip("_").upper().split("_"):
                    if code in OWED:  # others are words: v4, n1
                        found.setdefault(code, []).append(name)
    return found


def read_page(top):
    with open(os.path.join(top, PAGE), encoding="utf-8") as f:
        page = f.read()
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        sys.exit(f"{PAGE}: no place for the table of features")
    head, rest = page.split(BEGIN)
    table, tail = rest.split(END)
    return head, table, tail


def rows_of(table):
    """[(code, title, names, remark)] of the table."""
    rows = []
    for line in table.strip().splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        code, title, names, remark = cells
        rows.append((code, title, re.findall(r"`([\w.]+)`", names), remark))
    return rows


def faults(rows, found):
    complaints = []
    codes = [row[0] for row in rows]
    for code in OWED:
        if code not in codes:
            complaints.append(f"{code} has no line in the table")
        if not found.get(code):
            complaints.append(f"{code} has no test named after it")
    for code, _, names, _ in rows:
        tests = found.get(code, [])
        complaints += [f"{code}: no test {name}" for name in names if name not in tests]
        complaints += [f"{code}: {name} is not in the table" for name in tests
                       if name not in names]
    complaints += [f"{code} is carried by {found[code][0]} and has no line in the table"
                   for code in found if code not in codes and code not in OWED]
    return complaints


def write(top, rows, found):
    head, _, tail = read_page(top)
    lines = ["| row | promise | proved by | |", "|---|---|---|---|"]
    for code, title, _, remark in rows:
        names = ", ".join(f"`{name}`" for name in found.get(code, []))
        lines.append(f"| {code} | {title} | {names} | {remark} |")
    with open(os.path.join(top, PAGE), "w", encoding="utf-8") as f:
        f.write(f"{head}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{tail}")


def main():
    paths = [arg for arg in sys.argv[1:] if arg != "--write"]
    top = paths[0] if paths else TOP
    found = named_tests(top)
    rows = rows_of(read_page(top)[1])
    if "--write" in sys.argv:
        write(top, rows, found)
        rows = rows_of(read_page(top)[1])
    complaints = faults(rows, found)
    for complaint in complaints:
        print(f"{PAGE}: {complaint}")
    if complaints:
        print("tests/tidy/features.py --write puts the names of the tests in")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
