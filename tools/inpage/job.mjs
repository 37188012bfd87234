// One job: boot Pyodide, install wheels, run a Python text. The same for a page and for node.

const NOISE = /^ {2}File "\/lib\/python\d+\.zip\/_pyodide\/.*\n(?: {4}.*\n)*/gm;

export async function runJob(loadPyodide, job, read, report) {
  const times = {};
  let last = performance.now();
  const lap = (name) => {
    times[name] = Math.round(performance.now() - last) / 1000;
    last = performance.now();
  };
  const decoder = new TextDecoder();
  const write = (bytes) => {
    report({ out: decoder.decode(bytes, { stream: true }) });
    return bytes.length;
  };
  try {
    const pyodide = await loadPyodide({
      indexURL: job.index,
      env: { HOME: "/home/pyodide", COLUMNS: "100", ...job.env },
    });
    lap("pyodide");
    pyodide.setStdout({ write });
    pyodide.setStderr({ write });
    pyodide.registerJsModule("harness", { report: (text) => report(JSON.parse(text)) });
    const quiet = { messageCallback: () => {} };
    await pyodide.loadPackage(job.packages, quiet);
    await pyodide.loadPackagesFromImports(job.code, quiet);
    const site = pyodide.runPython("import site; site.getsitepackages()[0]");
    for (const [url, format, folder] of job.archives) {
      pyodide.unpackArchive(await read(url), format, { extractDir: folder || site });
    }
    // The import system has listed these folders already, and would not look again.
    pyodide.runPython("import importlib; importlib.invalidate_caches()");
    lap("packages");
    // After a fatal error of the interpreter the promise of a suspended run never settles.
    const fatal = new Promise((_, reject) => (pyodide._api.on_fatal = reject));
    const run = async () => {
      await pyodide.runPythonAsync(job.before);
      await pyodide.runPythonAsync(job.code, { filename: job.filename });
    };
    await Promise.race([run(), fatal]);
    lap("run");
    return { ok: true, times };
  } catch (error) {
    const text = error.constructor.name === "PythonError" ? error.message : error.stack;
    return { ok: false, error: String(text).replace(NOISE, ""), times };
  }
}
