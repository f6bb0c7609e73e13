// Makes src/codes.ts from the table of docs/protocol.md. With --check nothing is written: it ends
// with 1 when the file is not what would be written.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const package_ = dirname(dirname(fileURLToPath(import.meta.url)));
const top = dirname(dirname(package_));

function codes() {
    const text = readFileSync(join(top, "docs/protocol.md"), "utf8");
    const table = text.split("<!-- errors: begin -->")[1].split("<!-- errors: end -->")[0];
    const lines = [];
    for (const row of table.matchAll(/^\| (\d+) \| (\w+) \| ([\w ]+) \| ([\w ]+) \| (.+) \|$/gm)) {
        const [, number, name, category, handling, sentence] = row;
        const words = [number, ...[category, handling, sentence].map((w) => JSON.stringify(w))];
        lines.push(`    ${name}: [${words.join(", ")}],`);
    }
    return `// Made by \`npm run generate\` from the table of docs/protocol.md.

/** name: [number, category, handling, sentence] */
export const ERRORS = {
${lines.join("\n")}
} as const;
`;
}

const path = join(package_, "src/codes.ts");
if (!process.argv.includes("--check")) {
    writeFileSync(path, codes());
} else if (readFileSync(path, "utf8") !== codes()) {
    console.error("src/codes.ts is not what `npm run generate` makes");
    process.exitCode = 1;
}
