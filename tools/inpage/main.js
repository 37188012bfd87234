// The page that runs one job and reports to the server it came from.
import { loadPyodide } from "/pyodide/pyodide.mjs";
import { runJob } from "./job.mjs";

// A worker sends the reports: they get through even while Python keeps this thread busy, and the
// worker's heartbeat stops when the page's process dies.
const reporter = new Worker("./reporter.js");
const report = (message) => reporter.postMessage(message);

const job = await (await fetch("job.json")).json();
const read = async (url) => {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
};
report({ done: await runJob(loadPyodide, job, read, report) });
