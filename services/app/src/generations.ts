import { readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** The rotated files of a log, `app.log.N`, oldest first: the higher the number, the older. */
export async function generationsOf(path: string): Promise<{ path: string; number: number }[]> {
  const directory = dirname(path);
  const prefix = `${basename(path)}.`;
  return (await readdir(directory))
    .filter((name) => name.startsWith(prefix) && /^[1-9]\d{0,8}$/.test(name.slice(prefix.length)))
    .map((name) => ({ path: join(directory, name), number: Number(name.slice(prefix.length)) }))
    .sort((a, b) => b.number - a.number);
}

/** Makes the log's file the first generation, all others one older, and drops those beyond `kept`. */
export async function shiftGenerations(path: string, kept: number): Promise<void> {
  for (const generation of await generationsOf(path)) {
    if (generation.number >= kept) await rm(generation.path);
    else await rename(generation.path, `${path}.${generation.number + 1}`);
  }
  await rename(path, `${path}.1`);
}
