import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

import { load } from "./load.mjs";

const { usable } = await load("http.ts");

test("a page speaks to the gates it may speak to", () => {
    const from = (protocol, hostname) => ({ protocol, hostname });
    const all = ["tcp://a:7400", "wss://a:7403", "ws://a:7402", "ws://127.0.0.1:1", "ws://0.0.0.0:2", "ws://[::]:3"];
    assert.deepEqual(usable(all, from("http:", "chat.example")),
        ["ws://a:7402/", "ws://127.0.0.1:1/", "ws://chat.example:2/", "ws://chat.example:3/", "wss://a:7403/"]);
    assert.deepEqual(usable(all, from("https:", "chat.example")), ["wss://a:7403/", "ws://127.0.0.1:1/"]);
});

test("both languages have every text, with the same places to fill", async () => {
    const { TABLES } = await load("i18n.ts");
    const places = (text) => (text.match(/\{\w+\}/g) ?? []).sort().join();
    for (const [key, text] of Object.entries(TABLES.en)) {
        assert.ok(TABLES.zh[key], key);
        assert.equal(places(TABLES.zh[key]), places(text), key);
    }
    assert.equal(Object.keys(TABLES.zh).length, Object.keys(TABLES.en).length);
});

test("an error is told by its name, else in the server's words", async () => {
    const { tellError } = await load("i18n.ts");
    assert.equal(tellError("TOO_MANY_TRIES", "", 7), "Too many tries. Wait 7 s.");
    assert.equal(tellError("OTHER", "no door"), "It did not work: no door");
    assert.equal(tellError("NEW_ONE", "a sentence"), "It did not work: a sentence");
    assert.equal(tellError("NEW_ONE", ""), "It did not work: NEW_ONE");
});

test("a device's name says where it is, and is one", async () => {
    const { nameDevice } = await load("session.ts");
    const name = nameDevice("Mozilla/5.0 (iPhone) AppleWebKit Version/17 Safari/604");
    assert.match(name, /^safari-ios-[0-9a-z]{8}$/);
    assert.notEqual(name, nameDevice("Mozilla/5.0 (iPhone) AppleWebKit Version/17 Safari/604"));
});

test("what a browser loads stays small", () => {
    const size = (name) => gzipSync(readFileSync(new URL(`../dist/${name}`, import.meta.url)), { level: 9 }).length;
    assert.ok(size("app.js") < 36_000, `${size("app.js")} bytes of JavaScript with gzip`);
    assert.ok(size("app.css") < 5_000, `${size("app.css")} bytes of CSS with gzip`);
});

test("lengths are bytes, as the server counts them", async () => {
    const { isName, isPassword } = await load("rules.ts");
    assert.deepEqual(["a", "雁".repeat(21), "雁".repeat(22), "", "a b", "a/b", 'a"b', "a".repeat(65)].map(isName),
        [true, true, false, false, false, false, false, false]);
    assert.deepEqual(["1234567", "12345678", "密码", "密码好", "雁".repeat(85), "雁".repeat(86), "x".repeat(257)]
        .map(isPassword), [false, true, false, true, true, false, false]);
});

test("an error is of the member that it names, or is known to be of", async () => {
    const { memberOf } = await load("form.ts");
    const of = (code, message = "") => memberOf({ code, message });
    assert.deepEqual([of("PASSWORD_LENGTH"), of("USER_EXISTS"), of("ARGUMENT", "password: is missing"),
        of("JSON", "the body: is not JSON"), of("BUSY", "the server is overloaded")],
    ["password", "user", "password", "", ""]);
});
