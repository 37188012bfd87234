// Run a Python file inside Pyodide under node: node tools/node_page.mjs script.py [ARGS…]
// The same as `python tools/page.py --browser node script.py`, for those whose hands know node.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const tool = fileURLToPath(new URL("page.py", import.meta.url));
const args = [tool, "--browser", "node", ...process.argv.slice(2)];
process.exit(spawnSync("python3", args, { stdio: "inherit" }).status ?? 1);
