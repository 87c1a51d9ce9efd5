/** Putting archives of another platform, or of this one before it was lost, onto the volume. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "./failure.ts";
import { type Manifest, manifestName } from "./manifest.ts";
import type { Shelf } from "./restore.ts";
import { keep, manifestsIn } from "./storage.ts";
import { verify } from "./tar.ts";

/** What became of the archives. */
export interface Imported {
  stored: number;
  /** Archives that were there already. */
  present: number;
}

/**
 * Verifies each archive of a shelf and stores it in a directory, beside what is there. Their cursors stay behind: the
 * sources that they speak of are another platform's.
 * @throws Failure for one that is damaged, or that has the name of another one; those before it are stored
 */
export async function importArchives(
  shelf: Shelf,
  directory: string,
  say: (line: string) => void,
): Promise<Imported> {
  const there = new Map((await manifestsIn(directory)).map((manifest) => [manifest.archive, manifest]));
  const replaced = new Set([...there.values()].flatMap(({ replaces }) => replaces ?? []));
  const imported: Imported = { stored: 0, present: 0 };
  if (shelf.manifests.length === 0)
    throw new Failure(`there is no archive in ${shelf.name}`, { next: "restore --list" });
  for (const manifest of shelf.manifests) {
    const { archive, sha256 } = manifest;
    const known = there.get(archive);
    if (known?.sha256 === sha256 || replaced.has(archive)) {
      imported.present++;
      continue;
    }
    if (known)
      throw new Failure(`${directory} has another archive named ${archive}`, {
        next: `restore --from ${archive} --verify`,
      });
    const path = await shelf.pathOf(archive);
    await verify(path, manifest);
    const { cursors, sequence, ...rest } = manifest;
    const kept: Manifest = { ...rest, imported: manifest.imported ?? new Date().toISOString() };
    await keep(path, kept, directory);
    await shelf.release(path);
    imported.stored++;
    say(`${archive}: ${manifest.lines} lines, verified and stored`);
  }
  return imported;
}

/** The files of a directory that an import takes: each archive with its manifest, oldest first. */
export async function pairsIn(directory: string): Promise<{ names: string[]; bytes: number }[]> {
  const manifests = await manifestsIn(directory);
  return Promise.all(
    manifests.map(async ({ archive }) => ({
      names: [archive, manifestName(archive)],
      bytes: (await stat(join(directory, archive))).size,
    })),
  );
}
