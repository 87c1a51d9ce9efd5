/** Keeps rendered results under a key of what they were rendered from. */
import { createHash, type Hash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A directory of results. Each entry holds only the last one, under the key of its inputs. */
export class Cache {
  readonly #directory: string | undefined;

  /** @param directory undefined for a cache that never has anything */
  constructor(directory: string | undefined) {
    this.#directory = directory;
    if (directory) mkdirSync(directory, { recursive: true });
  }

  /** What was kept for an entry under this key. A damaged file counts as nothing. */
  get<T>(entry: string, key: string): T | undefined {
    if (!this.#directory) return undefined;
    try {
      const text = readFileSync(this.#file(entry), "utf8");
      const end = text.indexOf("\n");
      return text.slice(0, end) === key ? (JSON.parse(text.slice(end + 1)) as T) : undefined;
    } catch {
      return undefined;
    }
  }

  /** Keeps a result; another process sees the old file or the new one, never half of it. */
  set(entry: string, key: string, value: unknown): void {
    if (!this.#directory) return;
    const file = this.#file(entry);
    writeFileSync(`${file}.${process.pid}`, `${key}\n${JSON.stringify(value)}`);
    renameSync(`${file}.${process.pid}`, file);
  }

  #file(entry: string): string {
    return join(this.#directory ?? "", digest(entry));
  }
}

/** A short name for texts, whatever their lengths. */
export function digest(...texts: string[]): string {
  const hash: Hash = createHash("sha256");
  for (const text of texts) hash.update(`${text.length}:`).update(text);
  return hash.digest("hex").slice(0, 32);
}
