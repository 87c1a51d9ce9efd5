/** The modes of files that go into images and their tags. */
import { chmodSync, lstatSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** The mode that Git knows of a file: whether it is a program. A checkout's umask does not matter. */
export const plainMode = (path: string): number => ((statSync(path).mode & 0o111) === 0 ? 0o644 : 0o755);

/** Lets everybody read what is in a directory: an image is built as one user and runs as another. Links stay as they are. */
export function setModes(directory: string): void {
  chmodSync(directory, 0o755);
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    const found = lstatSync(path);
    if (found.isDirectory()) setModes(path);
    else if (found.isFile()) chmodSync(path, plainMode(path));
  }
}
