// The web page in Chromium, as people use it. tests/system/web.py starts it:
//     node web.mjs CASE URL FOLDER
// It prints "ask WORD" when the server has to be killed, started, ... and waits for a line; then
// "ok CASE". Whatever is wrong ends it with a stack.
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.cwd(), "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [, , wanted, url, folder, program] = process.argv;
const PASSWORD = "correct horse 1";
const PATIENCE = 20_000;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function ask(word) {
    console.log(`ask ${word}`);
    const { value, done } = await lines.next();
    assert.ok(!done && value === "done", `${word}: ${value}`);
}

const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox"] });
const faults = [];

const DESKTOP = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };

async function person(looks = {}) {
    const context = await browser.newContext({ ...DESKTOP, locale: "en-GB", ...looks });
    context.setDefaultTimeout(PATIENCE);
    return context;
}

async function open(context, address = url) {
    const page = await context.newPage();
    page.on("pageerror", (error) => faults.push(error.stack));
    page.on("console", (said) => {
        // What cannot be reached is told by the browser itself; all else is a fault.
        if (said.type() === "error" && !/ERR_|status of 4\d\d/.test(said.text())) faults.push(said.text());
    });
    await page.goto(address);
    return page;
}

const online = (page) => page.waitForSelector(".dot.online", { state: "attached" });

async function register(page, name) {
    await page.click(".other button");
    await page.fill("#name", name);
    await page.fill("#password", PASSWORD);
    await page.click("form .primary");
    await online(page);
}

async function signIn(page, name, password = PASSWORD) {
    await page.fill("#name", name);
    await page.fill("#password", password);
    await page.click("form .primary");
}

async function talkTo(page, name) {
    await page.fill("#find", name);
    await page.press("#find", "Enter");
    await page.waitForSelector(".talk h1");
}

async function say(page, text) {
    await page.fill("#write", text);
    await page.click(".write .primary");
}

const hears = (page, text) => lineOf(page, ".theirs", text);
const marked = (page, text, mark) => lineOf(page, `.own[data-mark="${mark}"]`, text);
const texts = (page) => page.$$eval(".line .text", (all) => all.map((one) => one.textContent));
const seqs = (page) => page.$$eval(".line", (all) => all.map((one) => Number(one.dataset.seq)));
const until = (page, what, value) => page.waitForFunction(what, value, { timeout: PATIENCE });

/** That of the user in this browser: the database of each of its devices here. */
const databases = (page, user) => page.evaluate(async (user) => (await indexedDB.databases())
    .filter((one) => one.name.split("/")[1] === user).length, user);
const emptied = (page, user) => until(page, async (user) => !(await indexedDB.databases())
    .some((one) => one.name.split("/")[1] === user) &&
    !Object.keys(localStorage).some((key) => localStorage[key].includes(`"${user}"`)), user);

/** The field is marked, told why by `alert`, and gone to. */
async function blamed(page, field, alert, words) {
    await until(page, ([field, alert, words]) => {
        const { id, ariaInvalid } = document.activeElement;
        const told = document.activeElement.getAttribute("aria-describedby") ?? "";
        return `#${id}` === field && ariaInvalid === "true" && told.split(" ").includes(alert) &&
            document.getElementById(alert).textContent.includes(words);
    }, [field, alert, words]).catch(async (fault) => {
        throw new Error(`not ${field}, but ${await page.evaluate((alert) =>
            `${document.activeElement.outerHTML} ${document.getElementById(alert).textContent}`, alert)}`,
        { cause: fault });
    });
    assert.equal(await page.$$eval('[aria-invalid="true"]', (all) => all.length), 1);
}

/** In the page: what is read from the window's database comes late. */
function slowDisk() {
    const { openCursor } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.openCursor = function (...asked) {
        for (let i = 0; i < 5000; i++) this.count(); // answered one after the other
        return openCursor.apply(this, asked);
    };
}

function lineOf(page, kind, text) {
    return page.waitForFunction(([kind, text]) => [...document.querySelectorAll(`.line${kind} .text`)]
        .some((one) => one.textContent === text), [kind, text]).catch((fault) => {
        throw new Error(`no ${kind}: ${text}`, { cause: fault });
    });
}

function shot(page, name) {
    return page.screenshot({ path: join(folder, `${name}.png`) });
}

const cases = {
    async talk() {
        const alice = await open(await person());
        const bob = await open(await person({ ...PHONE, locale: "zh-CN", colorScheme: "dark" }));
        await register(alice, "alice");
        await register(bob, "bob");
        assert.equal(await bob.getAttribute("html", "lang"), "zh-CN");

        await alice.fill("#find", "nobody-here");
        await alice.press("#find", "Enter");
        await until(alice, () => document.querySelector("#find-answer").textContent.includes("nobody-here"));
        await talkTo(alice, "bob");
        await alice.keyboard.type("Hello Bob");
        await alice.keyboard.press("Enter");
        await bob.waitForSelector(".talks .badge");
        await until(bob, () => document.title.startsWith("(1)"));
        await marked(alice, "Hello Bob", "delivered");
        await bob.tap(".talks a");
        await hears(bob, "Hello Bob");
        await until(bob, () => !document.title.startsWith("("));
        await say(bob, "你好");
        await hears(alice, "你好");
        await until(alice, () => document.querySelector("#heard").textContent.includes("bob: 你好"));
        await marked(bob, "你好", "delivered");

        // What looks like HTML is a text; a web address is a link, and nothing else is.
        const nasty = `<img src=x onerror=window.hacked=1><script>window.hacked=1</script> javascript:alert(1) https://a.example/?q=1`;
        await say(bob, nasty);
        await hears(alice, nasty);
        assert.deepEqual(await alice.$$eval(".line img, .line script", (all) => all.length), 0);
        assert.deepEqual(await alice.$$eval(".line a", (all) => all.map((one) => [one.href, one.rel])),
            [["https://a.example/?q=1", "noopener noreferrer"]]);
        assert.equal(await alice.evaluate(() => window.hacked), undefined);

        // The server is killed: both are told calmly, and what they write waits.
        await ask("kill");
        for (const page of [alice, bob]) await page.waitForSelector(".bar .text");
        await say(alice, "while it is away");
        await marked(alice, "while it is away", "wait");
        await say(bob, "one");
        await say(bob, "two");
        await shot(alice, "away-desktop");
        await shot(bob, "away-phone");
        await ask("start");
        await hears(bob, "while it is away");
        await hears(alice, "two");
        await marked(alice, "while it is away", "delivered");
        await marked(bob, "two", "delivered");
        await until(alice, () => document.querySelector(".bar").hidden);
        const said = (await texts(alice)).slice(-3);
        assert.deepEqual([...said].sort(), ["one", "two", "while it is away"]);
        assert.ok(said.indexOf("one") < said.indexOf("two"));
        assert.deepEqual(await seqs(alice), [1, 2, 3, 4, 5, 6]);

        // Written while the server is away, and the window closed before it is back.
        await ask("kill");
        await alice.waitForSelector(".bar .text");
        await say(alice, "kept over a reload");
        await marked(alice, "kept over a reload", "wait");
        await bob.goto(`${url}#/you`); // what cannot be had now is when the server is back
        await until(bob, () => document.querySelector(".you .answer")?.textContent !== "");
        const context = alice.context();
        await alice.close();
        await context.addInitScript(slowDisk);
        await ask("start");
        const again = await open(context);
        await bob.waitForSelector(".devices li");
        assert.equal(await bob.textContent(".you .answer"), "");
        await bob.goto(`${url}#/with/alice`);
        await hears(bob, "kept over a reload");
        await again.click(".talks a");
        await marked(again, "kept over a reload", "delivered");
        assert.deepEqual(await seqs(again), [1, 2, 3, 4, 5, 6, 7]);
        await shot(again, "after-desktop");
        await shot(bob, "after-phone");
    },

    async history() {
        const alice = await open(await person());
        await register(alice, "alice");
        const bob = await open(await person());
        await register(bob, "bob");
        await ask("fill"); // 180 from bob to alice
        await until(alice, () => document.querySelector(".talks .preview")?.textContent === "m180");
        assert.equal(await alice.textContent(".talks .badge [aria-hidden]"), "99+");
        // A device that is new here, and one that has seen it all come.
        const other = await open(await person(PHONE));
        await signIn(other, "alice");
        for (const page of [alice, other]) {
            await until(page, () => document.querySelector(".talks .preview")?.textContent === "m180");
            await page.click(".talks a");
            await page.waitForSelector(".line");
            await until(page, () => {
                const view = document.querySelector(".talk .scroll");
                return Math.abs(view.scrollHeight - view.clientHeight - view.scrollTop) < 2;
            });
            let first = Infinity;
            while (first > 1) {
                const before = first;
                const anchor = await page.evaluate(() => {
                    const view = document.querySelector(".talk .scroll");
                    const line = view.querySelector(".line");
                    view.scrollTop = 0;
                    return [line.dataset.seq, line.getBoundingClientRect().top];
                });
                await until(page, (seq) => Number(document.querySelector(".line").dataset.seq) < seq, before);
                first = (await seqs(page))[0];
                const top = await page.$eval(`[data-seq="${anchor[0]}"]`, (one) => one.getBoundingClientRect().top);
                if (first < Number(anchor[0])) assert.ok(Math.abs(top - anchor[1]) < 80, `jumped from ${anchor[1]} to ${top}`);
            }
            assert.deepEqual(await seqs(page), Array.from({ length: 180 }, (_, i) => i + 1));
            await page.waitForSelector('.top[data-state="beginning"]');
        }
        // Somebody reads above: nothing moves, and a button says that there is something new.
        const place = () => alice.$eval(".talk .scroll", (view) => view.scrollTop);
        const before = await place();
        await talkTo(bob, "alice");
        await say(bob, "news");
        await alice.waitForSelector(".down.news");
        assert.equal(await place(), before);
        await alice.click(".down");
        await hears(alice, "news");
        await until(alice, () => document.querySelector(".down").hidden);
    },

    async windows() {
        const context = await person();
        const first = await open(context);
        await register(first, "alice");
        // A second window: take over, or be somebody else.
        const second = await open(context);
        await second.waitForSelector(".notice");
        await second.click(".card > .plain");
        await second.waitForSelector("form");
        await register(second, "bob");
        await talkTo(second, "alice");
        await say(second, "from the other window");
        await first.click(".talks a");
        await hears(first, "from the other window");
        const third = await open(context);
        await third.click(".card > .primary");
        await online(third);
        const name = await third.textContent(".me span:nth-child(2)");
        const left = name === "alice" ? first : second;
        await left.waitForSelector(".notice");
        await left.click(".card > .primary");
        await online(left);
        await third.waitForSelector(".notice");
        await third.close();

        // A wrong password, then a right one; another device of alice's, which is then removed.
        const other = await open(await person());
        await signIn(other, "alice", "not the password");
        await until(other, () => document.querySelector("#sign-alert").textContent !== "");
        await signIn(other, "alice");
        await online(other);
        await first.goto(`${url}#/you`);
        await first.waitForSelector(".devices button");
        assert.equal(await first.$$eval(".devices .tag", (all) => all.length), 1);
        await shot(first, "devices-desktop");
        await other.click(".talks a");
        await other.waitForSelector(".line");
        assert.equal(await databases(other, "alice"), 1);
        await first.click(".devices button");
        // Nothing is left of it: not here, nor in the other's browser; why is said until it is known.
        await until(first, () => document.querySelectorAll(".devices li").length === 1);
        assert.equal(await first.$$eval(".devices button", (all) => all.length), 0);
        await other.waitForSelector("form .notice");
        await emptied(other, "alice");
        for (let i = 0; i < 2; i++) {
            await other.reload();
            await other.waitForSelector("form .notice");
            assert.match(await other.textContent(".notice"), /it was removed/);
        }
        await shot(other, "removed-desktop");
        assert.equal(await other.inputValue("#name"), "alice");
        await signIn(other, "alice");
        await online(other);
        await other.reload();
        await online(other);
        await other.goto("about:blank"); // not there while it is removed
        await first.reload();
        await first.click(".devices button");
        await until(first, () => document.querySelectorAll(".devices li").length === 1);
        await other.goto(url);
        await other.waitForSelector("form .notice");
        await emptied(other, "alice");
        await signIn(other, "alice");
        await online(other);
        await first.reload();
        await first.waitForSelector(".devices button");

        // The language is switched, and stays.
        await first.click('.languages [lang="zh"]');
        await first.waitForSelector('html[lang="zh-CN"]');
        await first.reload();
        await first.waitForSelector('html[lang="zh-CN"]');

        // A password that is changed ends the others, not this one.
        await first.goto(`${url}#/you`);
        await first.click("summary");
        await first.fill("#old", "not the password");
        await first.fill("#new", "another horse 2");
        await first.click("details button");
        await blamed(first, "#old", "change-alert", "当前密码不正确");
        await shot(first, "old-password-desktop");
        await first.fill("#old", PASSWORD);
        await first.fill("#new", "密码");
        await first.click("details button");
        await blamed(first, "#new", "change-alert", "8 至 256 字节");
        await first.fill("#new", "another horse 2");
        await first.click("details button");
        await until(first, () => document.querySelector("details .answer").textContent !== "");
        await until(first, () => document.querySelectorAll(".devices li").length === 1);
        await other.waitForSelector("form .notice");
        await emptied(other, "alice");
        await online(first);

        // Signed out: nothing is left, and the way back is the new password.
        await first.click(".danger");
        await first.waitForSelector("form #name");
        const left_ = await first.evaluate(async () => [
            Object.keys(localStorage).filter((key) => key.startsWith("anser.session.")).map((key) => JSON.parse(localStorage[key]).user),
            (await indexedDB.databases()).map((one) => one.name.split("/")[1])]);
        assert.deepEqual(left_, [["bob"], ["bob"]]);
        await signIn(first, "alice", "another horse 2");
        await online(first);
        await first.waitForSelector(".talks a");
    },

    async faults() {
        const page = await open(await person());
        let asked = 0;
        page.on("request", (request) => (asked += Number(request.url().includes("/v1/"))));
        const tries = async (name, password) => {
            await page.fill("#name", name);
            await page.fill("#password", password);
            await page.click("form .primary");
        };
        await tries("alice", "");
        await blamed(page, "#password", "sign-alert", "missing");
        await page.click(".other button");
        assert.match(await page.textContent("#name-hint"), /64 bytes/);
        assert.match(await page.textContent("#password-hint"), /8 to 256 bytes/);
        await tries("雁".repeat(22), PASSWORD); // 66 bytes
        await blamed(page, "#name", "sign-alert", "64 bytes");
        await shot(page, "faults-name-desktop");
        for (const wrong of ["密码", "short", "码".repeat(86), "x".repeat(257)]) {
            await tries("雁".repeat(21), wrong);
            await blamed(page, "#password", "sign-alert", "8 to 256 bytes");
        }
        await page.keyboard.type("!");
        await until(page, () => !document.querySelector('[aria-invalid="true"]'));
        assert.equal(await page.getAttribute("#password", "aria-describedby"), "password-hint");
        assert.equal(asked, 0, "asked for what cannot be");

        // What was written stays when the language is switched, and so does what it was written for.
        await page.fill("#password", "密码");
        await page.click('.languages [lang="zh"]');
        assert.match(await page.textContent("#password-hint"), /8 至 256 字节/);
        assert.equal(await page.inputValue("#name"), "雁".repeat(21));
        await page.click("form .primary");
        await blamed(page, "#password", "sign-alert", "8 至 256 字节");
        await shot(page, "faults-password-desktop");
        await page.click('.languages [lang="en"]');

        // The server's own refusals: its error says of what, or is known to.
        const says = async (error, field, words) => {
            const answer = { status: 400, contentType: "application/json", body: JSON.stringify({ error }) };
            await page.route("**/v1/register", (route) => route.fulfill(answer));
            await tries("alice", PASSWORD);
            await blamed(page, field, "sign-alert", words);
            await page.unroute("**/v1/register");
        };
        await says({ code: 617, name: "PASSWORD_LENGTH", message: "a password has 8 to 256 bytes" }, "#password", "8 to 256");
        await says({ code: 610, name: "ARGUMENT", message: "password: is missing" }, "#password", "is missing");
        await says({ code: 610, name: "ARGUMENT", message: "user: has to be a text" }, "#name", "has to be");
        await says({ code: 611, name: "USER_NAME", message: "the user name is not allowed" }, "#name", "kept");
        await tries("system", PASSWORD);
        await blamed(page, "#name", "sign-alert", "kept");
        await tries("雁".repeat(21), "密码好"); // 63 bytes, and 9
        await online(page);
        await page.goto(`${url}#/you`);
        await page.click(".danger");
        await page.waitForSelector("form #name");
        await page.click(".other button");
        await tries("雁".repeat(21), PASSWORD);
        await blamed(page, "#name", "sign-alert", "taken");
        await page.click(".other button");
        await tries("雁".repeat(21), PASSWORD);
        await blamed(page, "#password", "sign-alert", "wrong");
        await tries("雁".repeat(21), "密码好");
        await online(page);
    },

    // The application lets a user be at one place; and then deletes it.
    async ended() {
        const first = await open(await person());
        await register(first, "alice");
        await talkTo(first, "alice");
        await say(first, "a note");
        await marked(first, "a note", "delivered");
        const other = await open(await person({ ...PHONE, locale: "zh-CN", colorScheme: "dark" }));
        await signIn(other, "alice");
        await online(other);
        await first.waitForSelector("form .notice");
        await first.reload();
        await first.waitForSelector("form .notice");
        assert.match(await first.textContent(".notice"), /on another device/);
        assert.equal(await databases(first, "alice"), 1, "it may go on with what is here");
        await shot(first, "kicked-desktop");
        await first.click('.languages [lang="zh"]');
        assert.match(await first.textContent(".notice"), /另一台设备/);
        await first.click('.languages [lang="en"]');
        await first.click(".notice .close");
        await first.waitForSelector("#password:focus");
        assert.equal(await first.$(".notice"), null);
        await first.click(".other button");
        assert.equal(await first.$(".notice"), null);
        await first.reload();
        await first.waitForSelector("form #name");
        assert.equal(await first.$(".notice"), null);
        await signIn(first, "alice");
        await online(first);
        await other.waitForSelector("form .notice");
        await shot(other, "kicked-phone");
        await first.click(".talks a");
        await marked(first, "a note", "delivered");

        await ask("delete");
        await first.waitForSelector("form .notice");
        await emptied(first, "alice");
        await first.reload();
        await first.waitForSelector("form .notice");
        assert.match(await first.textContent(".notice"), /deleted/);
    },

    // Not staying signed in: nothing remains behind the window.
    async leaving() {
        const context = await person();
        const page = await open(context);
        await page.click(".other button");
        await page.uncheck("#stay");
        await page.fill("#name", "alice");
        await page.fill("#password", PASSWORD);
        await page.click("form .primary");
        await online(page);
        await talkTo(page, "alice");
        await say(page, "a note");
        await marked(page, "a note", "delivered");
        await page.reload();
        await page.waitForSelector(".line .text");
        assert.deepEqual(await texts(page), ["a note"]);
        assert.deepEqual(await page.evaluate(async () => [
            Object.keys(localStorage), await indexedDB.databases()]), [[], []]);
        await page.close();
        const next = await open(context);
        await next.waitForSelector("form #name");
    },

    async keyboard() {
        const alice = await open(await person());
        await alice.waitForSelector("#name:focus");
        await alice.keyboard.press("Tab"); // password
        for (let i = 0; i < 4; i++) await alice.keyboard.press("Tab"); // boxes, button, other
        await alice.keyboard.press("Enter");
        await alice.waitForSelector("#name-hint");
        await alice.keyboard.type("alice");
        await alice.keyboard.press("Tab");
        await alice.keyboard.type(PASSWORD);
        await alice.keyboard.press("Enter");
        await online(alice);
        // To oneself, by keys alone: the field to find is the third stop.
        await alice.keyboard.press("Tab");
        assert.equal(await alice.evaluate(() => document.activeElement.className), "skip");
        await alice.keyboard.press("Tab");
        await alice.keyboard.press("Tab");
        await alice.keyboard.type("alice");
        await alice.keyboard.press("Enter");
        await alice.waitForSelector("#write:focus");
        await alice.keyboard.type("line one");
        await alice.keyboard.press("Shift+Enter");
        await alice.keyboard.type("line two");
        await alice.keyboard.press("Enter");
        await alice.waitForSelector(".line.own");
        assert.deepEqual(await texts(alice), ["line one\nline two"]);
        // While an input method is open Enter is its own.
        await alice.evaluate(() => {
            const field = document.querySelector("#write");
            field.value = "nihao";
            field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", isComposing: true, bubbles: true }));
        });
        assert.equal(await alice.inputValue("#write"), "nihao");
    },

    async looks() {
        const bob = await open(await person());
        await register(bob, "bob");
        const first = await open(await person());
        await register(first, "alice");
        await talkTo(bob, "alice");
        for (const text of ["Hi! Did the letters arrive?", "晚上一起吃饭吗？六点半，老地方。", "👍",
            "A longer one, to see how lines are broken: the swan goose breeds in Mongolia and winters on the lakes along the Yangtze, and has carried letters in stories for two thousand years. https://en.example/wiki/Swan_goose"]) {
            await say(bob, text);
        }
        await marked(bob, "👍", "delivered");
        await talkTo(first, "bob");
        await say(first, "Yes, all of them.");
        await say(first, "好，六点半见！");
        await hears(bob, "好，六点半见！");
        await first.close();
        for (const [size, looks] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
            for (const colorScheme of ["light", "dark"]) {
                for (const locale of ["en-GB", "zh-CN"]) {
                    await look({ ...looks, colorScheme, locale }, [size, colorScheme, locale.slice(0, 2)].join("-"));
                }
            }
        }
    },
};

async function look(looks, name) {
    const page = await open(await person(looks));
    const see = async (what) => {
        await page.waitForTimeout(300); // nothing moves any more in a picture
        await shot(page, `${name}-${what}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${name} ${what}: ${wide} pixels too wide`);
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => window.axe.run());
        const told = violations.map((one) => `${one.impact} ${one.id}: ${one.nodes.map((node) => node.html).join(" | ")}`);
        assert.deepEqual(told, [], `${name} ${what}`);
    };
    await page.waitForSelector("form");
    await see("sign");
    await page.click(".other button");
    await see("register");
    await page.click(".other button");
    await signIn(page, "alice");
    await online(page);
    await page.waitForSelector(".talks a");
    await page.goto(`${url}#/you`);
    await page.waitForSelector(".devices li");
    await page.click("summary");
    await see("account");
    await page.goto(`${url}#/`);
    await see("list");
    await page.click(".talks a");
    await page.waitForSelector(".line");
    await see("talk");
    await page.context().close();
}

try {
    await cases[wanted]();
    assert.deepEqual(faults, [], "faults told in the console");
    console.log(`ok ${wanted}`);
} catch (error) {
    console.log(error.stack);
    for (const [i, context] of browser.contexts().entries()) {
        for (const [j, page] of context.pages().entries()) {
            await shot(page, `failed-${i}-${j}`).catch(() => undefined);
        }
    }
    console.log(faults.join("\n"));
    process.exitCode = 1;
}
await browser.close();
process.stdin.destroy();
