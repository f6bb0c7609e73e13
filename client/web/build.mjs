// Makes dist/ from src/ and the JavaScript client: what the node serves at /. Checked in, so that
// nobody needs Node to run Anser. With --check nothing is written: it ends with 1 when dist/ is not
// what would be written. With --sizes it says how large the files are.
import { readdirSync, readFileSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const client = join(here, "../js/src/index.ts");

/** { name: bytes } */
async function made() {
    const { outputFiles } = await build({
        absWorkingDir: here,
        entryPoints: { app: "src/main.ts", style: "src/app.css" },
        tsconfig: join(here, "tsconfig.json"), // for the client's sources too
        alias: { "anser-client": client },
        // Where files are decides the order of what is as good as another: the same everywhere. And
        // the client's own packages may be there or not.
        preserveSymlinks: true,
        plugins: [{
            name: "own packages",
            setup(build) {
                build.onResolve({ filter: /^@/ }, ({ path, kind, pluginData }) =>
                    pluginData ? undefined : build.resolve(path, { resolveDir: here, kind, pluginData: true }));
            },
        }],
        bundle: true,
        minify: true,
        format: "esm",
        target: ["es2022", "chrome105", "firefox115", "safari16"],
        charset: "utf8",
        legalComments: "none",
        outdir: "dist",
        write: false,
    });
    const files = Object.fromEntries(outputFiles.map(({ path, contents }) => [path.split("/").at(-1), contents]));
    const css = files["style.css"];
    delete files["style.css"];
    files["app.css"] = css;
    for (const name of ["index.html", "icon.svg"]) files[name] = readFileSync(join(here, "src", name));
    return files;
}

const files = await made();
const dist = join(here, "dist");
if (process.argv.includes("--check")) {
    const names = readdirSync(dist).sort().join();
    const wanted = Object.keys(files).sort().join();
    const wrong = names !== wanted ? [`dist has ${names}, not ${wanted}`]
        : Object.keys(files).filter((name) => !readFileSync(join(dist, name)).equals(Buffer.from(files[name])));
    if (wrong.length > 0) {
        console.error(`not what \`npm run build\` makes: ${wrong.join(", ")}`);
        process.exitCode = 1;
    }
} else {
    mkdirSync(dist, { recursive: true });
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(dist, name), bytes);
}
if (process.argv.includes("--sizes")) {
    for (const [name, bytes] of Object.entries(files)) {
        console.log(`${name} ${bytes.length} bytes, ${gzipSync(bytes, { level: 9 }).length} with gzip`);
    }
}
