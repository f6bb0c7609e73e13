// In Debian's Chromium, as modules without a bundler: two clients of one page talk, under a policy
// that forbids code made at run time.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, normalize } from "node:path";
import test from "node:test";

import { Server } from "./node.mjs";

const PACKAGE = new URL("..", import.meta.url).pathname;
const PAGE = `<!doctype html><meta charset="utf-8"><script type="importmap" nonce="x">
{"imports": {"@bufbuild/protobuf/wire": "/node_modules/@bufbuild/protobuf/dist/esm/wire/index.js"}}
</script><script type="module" nonce="x" src="/page.js"></script>`;
const POLICY = "default-src 'none'; script-src 'self' 'nonce-x'; connect-src 'self' ws:";

/** Runs in the page. */
async function talk({ address, tokens }) {
    const { Client, storageCursor } = await import("/dist/index.js");
    const said = [];
    const meet = (name, more) => {
        const client = new Client({
            addresses: address, token: tokens[name], device: "page", ...more,
            onState: (state, why) => said.push(`${name} ${state}${why ? ` ${why.name}` : ""}`),
        });
        client.start();
        return client;
    };
    const alice = meet("alice");
    const bob = meet("bob", {
        cursor: storageCursor("bob"),
        onMessage: (message) => alice.send(message.from, `${message.text} yourself`),
    });
    const got = new Promise((resolve) => {
        const other = meet("alice", { device: "other", onMessage: (m) => m.own || resolve(m) });
        other.start();
    });
    await bob.send("alice", "你好").sent;
    alice.send("bob", "hello");
    const { from, text } = await got;
    await bob.flush();
    const { head } = await bob.history("alice", { limit: 1 });
    const kept = JSON.parse(localStorage.getItem("bob"));
    await alice.close();
    await bob.close();
    return { said, from, text, head, next: kept.next > 1 };
}

test("two clients of a page talk", async () => {
    const server = await new Server().start();
    const profile = mkdtempSync(join(tmpdir(), "anser-chromium-"));
    server.addUsers("alice", "bob");
    const given = {
        address: server.address,
        tokens: { alice: server.token("alice"), bob: server.token("bob") },
    };
    const script = `(${talk})(${JSON.stringify(given)})
        .then((result) => ({ result }), (fault) => ({ fault: String(fault) }))
        .then((said) => fetch("/said", { method: "POST", body: JSON.stringify(said) }));`;
    let heard;
    const said = new Promise((resolve) => (heard = resolve));
    const web = createServer(async (request, response) => {
        const { pathname } = new URL(request.url, "http://page");
        response.setHeader("content-security-policy", POLICY);
        response.setHeader("content-type", pathname.endsWith(".js") ? "text/javascript" : "text/html");
        if (pathname === "/said") {
            let body = "";
            for await (const part of request) body += part;
            heard(JSON.parse(body));
            response.end();
        } else if (pathname === "/") {
            response.end(PAGE);
        } else if (pathname === "/page.js") {
            response.end(script);
        } else {
            try {
                response.end(readFileSync(join(PACKAGE, normalize(pathname))));
            } catch {
                response.writeHead(404).end();
            }
        }
    });
    await new Promise((resolve) => web.listen(0, "127.0.0.1", resolve));
    const chromium = spawn("chromium", ["--headless=new", "--no-sandbox", "--disable-gpu",
        `--user-data-dir=${profile}`, `http://127.0.0.1:${web.address().port}/`], { stdio: "ignore" });
    const ended = new Promise((resolve) => chromium.once("exit", resolve));
    const late = setTimeout(() => heard({ fault: "the page has said nothing" }), 60_000);
    const { result, fault } = await said;
    clearTimeout(late);
    chromium.kill();
    await ended;
    web.closeAllConnections();
    web.close();
    await server.remove();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    assert.equal(fault, undefined);
    assert.deepEqual([result.from, result.text, result.next], ["bob", "你好", true]);
    assert.ok(result.head >= 1);
    for (const line of ["alice online", "bob online", "alice closed", "bob closed"]) {
        assert.ok(result.said.includes(line), `${line}: ${result.said}`);
    }
});
