// What the page shows of the loader: a line while it works, and an error in words.

/**
 * A line of text before (or in) an element, gone when the text is empty.
 * @param {Element | undefined} place
 * @param {boolean} inside
 * @returns {(stage: string) => void}
 */
export function followedBy(place, inside) {
  if (!place) return () => {};
  const line = document.createElement("div");
  line.className = "tabgrad-progress";
  line.setAttribute("role", "status");
  return (stage) => {
    line.textContent = stage && `${stage} …`;
    if (!stage) line.remove();
    else if (!line.isConnected)
      place.insertAdjacentElement(inside ? "beforeend" : "beforebegin", line);
  };
}

// frames of Pyodide between the page and the program
const NOISE = /^ {2}File "\/lib\/python\d+\.zip\/_pyodide\/.*\n(?: {4}.*\n)*/gm;

/**
 * The last line of an error, with the rest to unfold.
 * @param {Element} place a script block: shown before it; anything else: shown in it
 * @param {unknown} error
 */
export function showError(place, error) {
  const text = (error instanceof Error ? error.message : String(error)).replace(NOISE, "");
  const lines = text.trim().split("\n");
  const box = document.createElement("details");
  box.className = "tabgrad-error";
  const summary = document.createElement("summary");
  summary.textContent = lines.at(-1) ?? "";
  const trace = document.createElement("pre");
  trace.textContent = text;
  box.append(summary, trace);
  place.insertAdjacentElement(place.tagName === "SCRIPT" ? "beforebegin" : "beforeend", box);
  console.error(text);
}
