import { open, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { endOfLastLine } from "./lines.ts";

interface Numbered {
  path: string;
  number: number;
}

/** What lies beside a log's file. */
export interface Generations {
  /** The rotated files, `app.log.N`, oldest first: the higher the number, the older. */
  kept: Numbered[];
  /** How many bytes of whole lines the log held before the oldest of them. */
  dropped: number;
}

/** The rotated files of a log and what was dropped before them. Rejects with the system's error. */
export async function generationsOf(path: string): Promise<Generations> {
  const names = await readdir(dirname(path));
  const dropped = numbered(names, `${path}.dropped.`)[0]?.number ?? 0;
  const kept = numbered(names, `${path}.`).filter(({ number }) => number < 1e9);
  return { kept, dropped };
}

/** Makes the log's file the first generation, all others one older, and drops the oldest beyond `kept`. */
export async function shiftGenerations(path: string, kept: number): Promise<void> {
  await finishDrop(path);
  const generations = (await generationsOf(path)).kept;
  // The files are counted, because after an interrupted rotation the numbers have a gap and reach `kept` too early.
  const tooMany = Math.max(0, generations.length + 1 - kept);
  for (const generation of generations.slice(0, tooMany)) await drop(path, generation.path);
  for (const generation of generations.slice(tooMany)) {
    await rename(generation.path, `${path}.${generation.number + 1}`);
  }
  await rename(path, `${path}.1`);
}

/**
 * Frees the space of a file that an interrupted drop has left behind.
 *
 * The number of dropped bytes is in the name of an empty file, `app.log.dropped.BYTES`. One rename gives the oldest
 * generation that name, so that it is gone and counted at the same moment, even on a full disk. The empty file of the
 * previous drop then replaces it. Truncating it would take lines from readers who have it open.
 */
export async function finishDrop(path: string): Promise<void> {
  const [latest, ...earlier] = numbered(await readdir(dirname(path)), `${path}.dropped.`);
  if (!latest) return;
  if ((await stat(latest.path)).size > 0) {
    await rename(earlier.pop()?.path ?? (await emptyFile(`${path}.dropped`)), latest.path);
  }
  for (const { path } of earlier) await rm(path);
}

/** Drops the oldest generation. */
async function drop(path: string, oldest: string): Promise<void> {
  const bytes = await wholeLines(oldest);
  if (bytes === 0) return rm(oldest);
  const { dropped } = await generationsOf(path);
  await rename(oldest, `${path}.dropped.${dropped + bytes}`);
  await finishDrop(path);
}

async function wholeLines(path: string): Promise<number> {
  const handle = await open(path, "r");
  try {
    return await endOfLastLine(handle, (await handle.stat()).size);
  } finally {
    await handle.close();
  }
}

async function emptyFile(path: string): Promise<string> {
  await writeFile(path, "");
  return path;
}

/** The files whose names are `prefix` and a number without leading zeros, the highest first. */
function numbered(names: string[], prefix: string): Numbered[] {
  const start = basename(prefix);
  return names
    .filter((name) => name.startsWith(start) && /^[1-9]\d{0,15}$/.test(name.slice(start.length)))
    .map((name) => ({ path: join(dirname(prefix), name), number: Number(name.slice(start.length)) }))
    .filter(({ number }) => Number.isSafeInteger(number))
    .sort((a, b) => b.number - a.number);
}
