/** Progress of a stage of `deploy.sh` or of a command: a line that a terminal rewrites, elsewhere a line now and then. */

const terminal = process.stderr.isTTY === true;
const plainIntervalMs = 20_000;
let lastPlain = Date.now();
let lastText = "";
let stage = "";

/** Names the stage whose progress is shown from now on; empty if none is under way. */
export function showStage(title: string): void {
  stage = title;
  lastText = "";
  if (terminal) process.stderr.write(`\r\x1b[K${title}`);
}

/** Shows what the stage is doing now. */
export function progress(text: string): void {
  if (text === lastText) return;
  lastText = text;
  if (terminal) {
    process.stderr.write(`\r\x1b[K${stage} ${text}`.slice(0, (process.stderr.columns ?? 110) + 3));
  } else if (Date.now() - lastPlain >= plainIntervalMs) {
    lastPlain = Date.now();
    process.stderr.write(`      … ${text}\n`);
  }
}

/** Prints lines that stay. */
export function note(text: string): void {
  process.stderr.write(`${terminal ? "\r\x1b[K" : ""}      ${text}\n`);
}
