// The page's modules, compiled as the page's build does it.
import { webcrypto } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { build } from "esbuild";

globalThis.crypto ??= webcrypto; // Node 18
const here = dirname(dirname(fileURLToPath(import.meta.url)));

export async function load(name) {
    const { outputFiles } = await build({
        absWorkingDir: here, entryPoints: [join(here, "src", name)], bundle: true, write: false,
        format: "esm", target: "node18", alias: { "anser-client": join(here, "../js/src/index.ts") },
        nodePaths: [join(here, "node_modules")],
    });
    const folder = mkdtempSync(join(tmpdir(), "anser-web-"));
    try {
        const path = join(folder, `${name}.mjs`);
        writeFileSync(path, outputFiles[0].contents);
        return await import(pathToFileURL(path));
    } finally {
        rmSync(folder, { recursive: true });
    }
}
