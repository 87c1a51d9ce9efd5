/** Writing generated configuration, and the modes of what goes into images. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

/** Writes a file, with its directory, unless it already holds the text: an untouched input restarts nothing. */
export function writeIfChanged(path: string, text: string, mode = 0o666): void {
  mkdirSync(dirname(path), { recursive: true });
  if (!existsSync(path) || readFileSync(path, "utf8") !== text) writeFileSync(path, text, { mode });
}

/** The mode that Git knows of a file: whether it is a program. What a umask made of it in a checkout says nothing. */
export const plainMode = (path: string): number => ((statSync(path).mode & 0o111) === 0 ? 0o644 : 0o755);

/** Lets everybody read what is in a directory, for an image is built as root and runs as somebody else. */
export function makeReadable(directory: string): void {
  chmodSync(directory, 0o755);
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) makeReadable(path);
    else if (entry.isFile()) chmodSync(path, plainMode(path));
  }
}
