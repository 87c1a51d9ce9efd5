/** Sorts more rows than memory holds, by coreutils' sort. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { Failure } from "./failure.ts";
import { linesIn } from "./lines.ts";

const batchCharacters = 256 * 1024;

/** A number with leading zeros, so that sorting by bytes sorts by value. */
export const pad = (value: number, width = 16): string => String(value).padStart(width, "0");

/**
 * Sorts rows, which hold no newline, by their bytes. Memory stays bounded: what does not fit goes to `scratch`.
 * @param produce is given the function that adds a row, and is waited for
 * @returns the rows, many at a time
 * @throws Failure with sort's own complaint, such as a full disk
 */
export async function* sorted(
  produce: (add: (row: string) => Promise<void> | undefined) => Promise<void>,
  scratch: string,
): AsyncGenerator<string[]> {
  const child = spawn("sort", ["--buffer-size=32M", "--batch-size=64", `--temporary-directory=${scratch}`], {
    env: { ...process.env, LC_ALL: "C" },
  });
  let complaint = "";
  child.stderr.on("data", (chunk) => {
    complaint += chunk;
  });
  // The exit code and stderr say what went wrong; writing to a process that has gone gives only EPIPE.
  child.stdin.on("error", () => undefined);
  const ended = once(child, "close").then(([code]) => {
    if (code !== 0) throw new Failure(`sort failed: ${complaint.trim() || `exit code ${code}`}`);
  });
  ended.catch(() => undefined);
  try {
    await fill(child, produce);
    yield* linesIn(child.stdout);
    await ended;
  } finally {
    child.kill();
  }
}

async function fill(
  { stdin }: ChildProcessWithoutNullStreams,
  produce: (add: (row: string) => Promise<void> | undefined) => Promise<void>,
): Promise<void> {
  let batch: string[] = [];
  let characters = 0;
  const flush = async (): Promise<void> => {
    const full = !stdin.write(batch.join(""), "latin1");
    batch = [];
    characters = 0;
    if (!full || !stdin.writable) return;
    const waiting = new AbortController();
    const { signal } = waiting;
    await Promise.race([once(stdin, "drain", { signal }), once(stdin, "close", { signal })]).finally(() =>
      waiting.abort(),
    );
  };
  await produce((row) => {
    batch.push(row, "\n");
    characters += row.length + 1;
    return characters > batchCharacters ? flush() : undefined;
  });
  await flush();
  stdin.end();
}

/** Groups of successive rows that have the same key. */
export async function* groupsOf<Row>(
  rows: AsyncIterable<string[]>,
  decode: (row: string) => Row & { key: string },
): AsyncGenerator<Row[][]> {
  let key: string | undefined;
  let group: Row[] = [];
  for await (const texts of rows) {
    const groups: Row[][] = [];
    for (const text of texts) {
      const row = decode(text);
      if (row.key !== key) {
        if (group.length > 0) groups.push(group);
        group = [];
        key = row.key;
      }
      group.push(row);
    }
    yield groups;
  }
  if (group.length > 0) yield [group];
}

/** Groups items by what they have in common, and keeps their order. */
export function grouped<T>(items: T[], by: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = by(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return [...groups.values()];
}
