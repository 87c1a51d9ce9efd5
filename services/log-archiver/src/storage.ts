/** Where archives outlive the pod: a directory on a volume. */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { Failure } from "./failure.ts";
import { isArchiveName, isManifestName, type Manifest, manifestName, parseManifest } from "./manifest.ts";

const partial = ".partial";
// A person who copies an archive here by hand may copy its manifest afterwards.
const orphansAreDeadAfterMs = 24 * 3600 * 1000;

/** SHA-256 of a file, in hex. */
export async function sha256Of(path: string): Promise<string> {
  const digest = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), digest);
  return digest.digest("hex");
}

/** The manifests in a directory, oldest first. An unreadable one is left out, and `unreadable` is told its name. */
export async function manifestsIn(
  directory: string,
  unreadable: (name: string) => void = () => undefined,
): Promise<Manifest[]> {
  const names = (await readdir(directory)).filter(isManifestName).sort();
  const manifests: Manifest[] = [];
  for (const name of names) {
    try {
      manifests.push(parseManifest(await readFile(join(directory, name), "utf8")));
    } catch {
      unreadable(name);
    }
  }
  return manifests;
}

/** The manifest beside an archive. Throws a Failure if there is none. */
export async function manifestBeside(path: string): Promise<Manifest> {
  const text = await readFile(manifestName(path), "utf8").catch((cause) => {
    throw new Failure(`${path} has no manifest beside it`, { cause });
  });
  return parseManifest(text);
}

/**
 * Copies an archive into a directory, reads the copy back, then writes the manifest.
 * Throws a Failure if it cannot, for example on a full disk. What is there already stays as it is in every case.
 */
export async function keep(archive: string, manifest: Manifest, directory: string): Promise<void> {
  const target = join(directory, manifest.archive);
  const scratch = `${target}${partial}`;
  const manifestScratch = join(directory, `${manifestName(manifest.archive)}${partial}`);
  try {
    await pipeline(createReadStream(archive), createWriteStream(scratch));
    await sync(scratch);
    const copied = await sha256Of(scratch);
    if (copied !== manifest.sha256)
      throw new Failure(
        `the copy of ${manifest.archive} in ${directory} has SHA-256 ${copied}, not ${manifest.sha256}`,
      );
    await pipeline([`${JSON.stringify(manifest, undefined, 2)}\n`], createWriteStream(manifestScratch));
    await sync(manifestScratch);
    await rename(scratch, target);
    await rename(manifestScratch, join(directory, manifestName(manifest.archive)));
    await sync(directory);
  } catch (cause) {
    await rm(scratch, { force: true });
    await rm(manifestScratch, { force: true });
    throw new Failure(
      `${manifest.archive} could not be stored in ${directory}; older archives are untouched`,
      { cause },
    );
  }
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Removes archives by their names, each one's manifest first: an archive without one does not count. */
export async function remove(archives: string[], directory: string): Promise<void> {
  for (const archive of archives) {
    await rm(join(directory, manifestName(archive)), { force: true });
    await rm(join(directory, archive), { force: true });
  }
}

/**
 * Removes what killed runs left: partial copies, which nobody else writes while the caller holds the directory's
 * lock, and archives that did not get a manifest within a day.
 */
export async function removeRemains(directory: string, now: Date): Promise<string[]> {
  const names = await readdir(directory);
  const remains: string[] = [];
  for (const name of names) {
    if (!name.startsWith("app-logs-")) continue;
    if (!name.endsWith(partial)) {
      if (!isArchiveName(name) || names.includes(manifestName(name))) continue;
      const { mtimeMs } = await stat(join(directory, name)).catch(() => ({ mtimeMs: now.getTime() }));
      if (now.getTime() - mtimeMs < orphansAreDeadAfterMs) continue;
    }
    await rm(join(directory, name), { force: true });
    remains.push(name);
  }
  return remains;
}
