/** Puts archives of another platform, or of this one before it was lost, onto the volume. */
import { Failure, reasonOf } from "./failure.ts";
import type { Manifest } from "./manifest.ts";
import { type Shelf, unreadableIn } from "./restore.ts";
import { keep, manifestsIn } from "./storage.ts";
import { verify } from "./tar.ts";

/** What became of the archives. */
export interface Imported {
  stored: number;
  /** Archives that were there already. */
  present: number;
  /** Why the others were not stored: each is damaged, or has the name of a different archive. */
  refused: string[];
}

/**
 * Verifies each archive of a shelf and stores it in a directory beside the existing ones. An archive that is refused does
 * not keep the others from being stored. Cursors are not imported, because they are about another platform's sources.
 * @throws Failure if there is no archive, or if one could not be stored; those before it are stored
 */
export async function importArchives(
  shelf: Shelf,
  directory: string,
  say: (line: string) => void,
): Promise<Imported> {
  const there = new Map((await manifestsIn(directory)).map((manifest) => [manifest.archive, manifest]));
  const replaced = new Set(
    [...there.values()].flatMap(({ replaces = [] }) => replaces.map((one) => one.archive + one.sha256)),
  );
  const refused = shelf.unreadable.map((name) => unreadableIn(shelf, name));
  const imported: Imported = { stored: 0, present: 0, refused };
  if (shelf.manifests.length === 0)
    throw new Failure(`there is no archive in ${shelf.name}`, { next: shelf.next });
  for (const manifest of shelf.manifests) {
    const { archive, sha256 } = manifest;
    const known = there.get(archive);
    if (known?.sha256 === sha256 || replaced.has(archive + sha256)) {
      imported.present++;
      continue;
    }
    if (known) {
      imported.refused.push(`${directory} has another archive named ${archive}`);
      continue;
    }
    const path = await soundPath(shelf, manifest).catch((error: unknown) => {
      imported.refused.push(reasonOf(error));
    });
    if (path === undefined) continue;
    const { cursors, sequence, ...rest } = manifest;
    const kept: Manifest = { ...rest, imported: manifest.imported ?? new Date().toISOString() };
    await keep(path, kept, directory);
    await shelf.release(path);
    imported.stored++;
    say(`${archive}: ${manifest.lines} lines, verified and stored`);
  }
  return imported;
}

async function soundPath(shelf: Shelf, manifest: Manifest): Promise<string> {
  const path = await shelf.pathOf(manifest.archive);
  try {
    await verify(path, manifest);
    return path;
  } catch (error) {
    await shelf.release(path);
    throw error;
  }
}
