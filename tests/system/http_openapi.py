"""The OpenAPI description: every example as it stands there, in the order of the file, every
path and every error."""
import json
import os
import re

from harness import TOP
from http_calls import fits, start

OPENAPI = os.path.join(TOP, "docs", "openapi.json")


def operations(doc):
    for path, methods in doc["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                yield path, method.upper(), operation


def case_openapi_examples_are_true(case):
    """In the order of the file; what an answer gave takes the place of the example's."""
    node, api = start(case)
    status, headers, doc = api.raw("GET", "/v1/openapi.json")
    assert status == 200 and headers["Content-Type"] == "application/json"
    with open(OPENAPI, encoding="utf-8") as f:
        assert doc == json.load(f)
    token = refresh = None
    for path, method, operation in operations(doc):
        target = path
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                target = target.replace("{%s}" % parameter["name"], parameter["example"])
            else:
                target += f"?{parameter['name']}={parameter['example']}"
        body = operation.get("requestBody")
        body = body and dict(body["content"]["application/json"]["example"])
        if body and "refresh_token" in body:
            body["refresh_token"] = refresh
        schemes = {name for one in operation.get("security", ()) for name in one}
        if schemes == {"key", "time", "nonce", "signature"}:
            status, answer = api.signed(method, target, body)
        else:
            assert schemes <= {"token"}, schemes
            if operation["operationId"] == "logout":  # its device was ended by the call before
                token = api.good("POST", "/v1/login", {
                    "user": "erin", "password": "staple battery horse", "device": "phone-1"})["token"]
            status, _, answer = api.call(method, target, body,
                                         token=token if schemes else None)
        assert status == 200, (method, target, status, answer)
        if operation["operationId"] == "describe":
            continue
        fits(answer, operation["responses"]["200"]["content"]["application/json"]["example"],
             f"{method} {path}")
        token = answer.get("token", token) if not path.startswith("/v1/app") else token
        refresh = answer.get("refresh_token", refresh)
    node.stop()


def case_openapi_names_every_path_and_error(case):
    """The description against the table of the code, and its errors against core/err.h."""
    del case
    with open(OPENAPI, encoding="utf-8") as f:
        doc = json.load(f)
    with open(os.path.join(TOP, "actors", "api", "api_route.c"), encoding="utf-8") as f:
        rows = re.findall(r'X\((\w+), (\w+), "(/[^"]+)"', f.read())
    told = {(method, re.sub(r"\{\w+\}", "*", path)) for path, method, _ in operations(doc)}
    assert told == {(method, path) for _, method, path in rows}, told ^ {
        (method, path) for _, method, path in rows}
    for who, method, path in rows:
        operation = doc["paths"].get(path.replace("*", "{name}"),
                                     doc["paths"].get(path.replace("*", "{device}")))[method.lower()]
        schemes = {name for one in operation.get("security", ()) for name in one}
        assert schemes == {"ANYBODY": set(), "USER": {"token"},
                           "APP": {"key", "time", "nonce", "signature"}}[who], path
    with open(os.path.join(TOP, "core", "err.h"), encoding="utf-8") as f:
        known = set(re.findall(r"X\(\d+, (\w+),", f.read()))
    for path, method, operation in operations(doc):
        others = operation["responses"].pop("default")
        assert others == {"$ref": "#/components/responses/Other"}, (path, method, others)
        for status, response in operation["responses"].items():
            if status != "200":
                names = set(response["description"].split(", "))
                assert names <= known, (path, method, names - known)
    other = doc["components"]["responses"]["Other"]
    assert other["content"] == {"application/json": {
        "schema": {"$ref": "#/components/schemas/Error"}}}
    assert set(re.findall(r"[A-Z_]{4,}", other["description"])) <= known, other["description"]
    with open(os.path.join(TOP, "actors", "api", "api_error.c"), encoding="utf-8") as f:
        own = set(re.findall(r"^    X\((\w+), (\d+)\)", f.read(), re.M))
    assert len(own) == 5, own
    for name, status in own:
        assert re.search(rf"{status} {name}\b", other["description"]), (status, name)
