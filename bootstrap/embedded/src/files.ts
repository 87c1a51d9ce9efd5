/** Writes generated configuration. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** Writes a file and its directory, unless it already holds the text. A program whose inputs are untouched is not restarted. */
export function writeIfChanged(path: string, text: string, mode = 0o666): void {
  mkdirSync(dirname(path), { recursive: true });
  if (!existsSync(path) || readFileSync(path, "utf8") !== text) writeFileSync(path, text, { mode });
}
