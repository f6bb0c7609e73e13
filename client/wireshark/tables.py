#!/usr/bin/python3
"""The tables of anser.lua come from proto/client.proto, proto/frame.h, core/err.h and
client/anser.h: this compares them, or writes them with --write."""
import json
import os
import re
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.abspath(os.path.join(HERE, "..", ".."))
PAGE = os.path.join(HERE, "anser.lua")
BEGIN, END = "-- tables: begin", "-- tables: end"
PROTO = os.path.join("proto", "client.proto")

# What the schema calls bytes is text, but for these.
BYTES = {"client_msg_id": "uuid", "body": "body", "head_event": "message Event"}
NUMBERS = ("uint32", "uint64", "fixed32", "fixed64", "bool")


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        return f.read()


def schema():
    """The schema as protoc understands it, with its comments."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "set")
        subprocess.run(["protoc", f"--proto_path={TOP}", f"--descriptor_set_out={out}",
                        "--include_source_info", os.path.join(TOP, PROTO)], check=True)
        with open(out, "rb") as f:
            return descriptor_pb2.FileDescriptorSet.FromString(f.read()).file[0]


def comments(file):
    """{path in the descriptor: comment}, each in one line."""
    found = {}
    for place in file.source_code_info.location:
        text = place.trailing_comments or place.leading_comments
        found[tuple(place.path)] = " ".join(text.split())
    return found


def snake(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def camel(name):
    return "".join(word.capitalize() for word in name.split("_"))


def kind_of(message, field):
    """How the dissector reads and shows the field. What it cannot is an error here."""
    types = descriptor_pb2.FieldDescriptorProto
    name = types.Type.Name(field.type)[5:].lower()
    where = f"{PROTO}: {message.name}.{field.name}"
    if field.type == types.TYPE_MESSAGE:
        return "message " + field.type_name.rsplit(".", 1)[1]
    if field.label == types.LABEL_REPEATED:
        sys.exit(f"{where}: repeated {name}: teach anser.lua about it")
    if field.type == types.TYPE_ENUM:
        return "enum " + field.type_name.rsplit(".", 1)[1]
    if field.type in (types.TYPE_BYTES, types.TYPE_STRING):
        return BYTES.get(field.name, "text")
    if name not in NUMBERS:
        sys.exit(f"{where}: {name}: teach anser.lua about it")
    return name


def means(message, field):
    """What a number stands for, by the names that the schema uses."""
    if field.name == "code":
        return "error"
    if field.name == "type":
        return "type"
    if field.name == "trace":
        return "hex"
    if field.name.endswith("_ms"):
        return "time" if field.name.endswith("time_ms") else "ms"
    return None


def message_lines(file):
    notes = comments(file)
    lines = ["local MESSAGES = {"]
    for m, message in enumerate(file.message_type):
        if message.nested_type:
            sys.exit(f"{PROTO}: {message.name}: nested types: teach anser.lua about them")
        lines.append(f"    {message.name} = {{ abbr = {json.dumps(snake(message.name))}, fields = {{")
        for f, field in enumerate(message.field):
            kind, meaning = kind_of(message, field), means(message, field)
            entry = f"name = {json.dumps(field.name)}, kind = {json.dumps(kind)}"
            if meaning:
                entry += f", means = {json.dumps(meaning)}"
            note = notes.get((4, m, 2, f))
            if note:
                entry += f", note = {json.dumps(note)}"
            lines.append(f"        [{field.number}] = {{ {entry} }},")
        lines.append("    } },")
    return lines + ["}"]


def enum_lines(file):
    lines = ["local ENUMS = {"]
    for enum in file.enum_type:
        lines.append(f"    {enum.name} = {{")
        lines += [f"        [{value.number}] = {json.dumps(value.name)}," for value in enum.value]
        lines.append("    },")
    return lines + ["}"]


def table(text, name):
    """The X(...)s of one table of a header, its continued lines joined."""
    found = re.search(rf"#define {name}\(X\)(.*?[^\\])\n", text, re.S)
    assert found, f"no table {name}"
    return re.sub(r"\s*\\\n\s*", " ", found.group(1))


def command_lines():
    header = read(os.path.join("proto", "frame.h"))
    lines = ["local COMMANDS = {"]
    for number, request, answer in re.findall(r"X\((\d+), \w+, (\w+), (\w+)\)",
                                              table(header, "AN_COMMANDS")):
        lines.append(f'    [{number}] = {{ request = "{camel(request)}", '
                     f'answer = "{camel(answer)}" }},')
    for number, push in re.findall(r"X\((\d+), \w+, (\w+)\)", table(header, "AN_PUSHES")):
        lines.append(f'    [{number}] = {{ push = "{camel(push)}" }},')
    assert len(lines) > 10, lines
    return lines + ["}"]


def error_lines():
    lines, texts = ["local ERRORS = {"], ["local ERROR_TEXTS = {"]
    for number, name, text in re.findall(r'X\((\d+), (\w+), \w+, \w+,\s*"([^"]*)"\)',
                                         table(read(os.path.join("core", "err.h")), "AN_ERRORS")):
        lines.append(f'    [{number}] = "{name}",')
        texts.append(f"    [{number}] = {json.dumps(text)},")
    assert len(lines) > 50, lines
    return lines + ["}"] + texts + ["}"]


def type_lines():
    body = re.search(r"enum anser_type \{(.*?)\};", read(os.path.join("client", "anser.h")), re.S)
    found = re.findall(r"ANSER_(\w+) = (\d+)", body.group(1))
    assert found, "no content types"
    return ["local TYPES = {",
            *(f'    [{number}] = "{name.lower().replace("_", " ")}",' for name, number in found),
            "}"]


def tables():
    file = schema()
    return "\n".join([*message_lines(file), *enum_lines(file), *command_lines(), *type_lines(),
                      *error_lines()])


def main():
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    assert page.count(BEGIN) == 1 and page.count(END) == 1, f"{PAGE}: no place for the tables"
    head, rest = page.split(BEGIN)
    want = f"{head}{BEGIN}\n{tables()}\n{END}{rest.split(END)[1]}"
    if page == want:
        return
    if "--write" not in sys.argv:
        sys.exit("client/wireshark/anser.lua: its tables are stale; "
                 "run client/wireshark/tables.py --write")
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(want)


if __name__ == "__main__":
    main()
