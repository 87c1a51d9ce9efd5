/** Writes lines into one file per pod, without keeping a file open per pod. */
import { createHash } from "node:crypto";
import { appendFile, rename } from "node:fs/promises";
import { join } from "node:path";

/** A file that was written. Times are empty if its lines have none. */
export interface PodFile {
  lines: number;
  bytes: number;
  sha256: string;
  first: string;
  last: string;
  fromNodes: number;
}

interface Open extends PodFile {
  path: string;
  digest: ReturnType<typeof createHash>;
  waiting: string[];
}

const largeCharacters = 2 * 1024 * 1024;

/** Lines wait in memory until they are many; then each pod's are appended to its file. */
export class PodFiles {
  readonly #directory: string;
  readonly #files = new Map<number, Open>();
  #characters = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Adds a line of a pod, which is given by its number. */
  add(pod: number, line: string, time: string, fromNode: boolean): void {
    let file = this.#files.get(pod);
    if (!file) {
      const path = join(this.#directory, `.${pod}`);
      const counts = { lines: 0, bytes: 0, sha256: "", first: time, last: time, fromNodes: 0 };
      file = { path, ...counts, digest: createHash("sha256"), waiting: [] };
      this.#files.set(pod, file);
    }
    file.waiting.push(line, "\n");
    file.lines++;
    file.bytes += line.length + 1;
    if (time !== "") {
      if (file.first === "" || time < file.first) file.first = time;
      if (time > file.last) file.last = time;
    }
    if (fromNode) file.fromNodes++;
    this.#characters += line.length + 1;
  }

  /** Await this now and then, so that memory stays bounded. Rejects with the disk's error. */
  async flushIfLarge(): Promise<void> {
    if (this.#characters > largeCharacters) await this.#flush();
  }

  /** Writes what waits and gives each file its name; returns the files by the pods' numbers. */
  async end(nameOf: (pod: number) => string): Promise<Map<number, PodFile>> {
    await this.#flush();
    for (const [pod, file] of this.#files) {
      file.sha256 = file.digest.digest("hex");
      await rename(file.path, join(this.#directory, nameOf(pod)));
    }
    return this.#files;
  }

  async #flush(): Promise<void> {
    this.#characters = 0;
    for (const file of this.#files.values()) {
      if (file.waiting.length === 0) continue;
      const bytes = Buffer.from(file.waiting.join(""), "latin1");
      file.waiting = [];
      file.digest.update(bytes);
      await appendFile(file.path, bytes);
    }
  }
}
