/** Replaces the many archives of a closed day by one. */
import { mkdir, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { Failure, reasonOf } from "./failure.ts";
import { linesIn, partsOf } from "./lines.ts";
import { type ArchivedPod, dayArchiveName, dayOf, isArchiveName, type Manifest } from "./manifest.ts";
import { PodFiles } from "./pod-files.ts";
import { keep, remove, sha256Of } from "./storage.ts";
import { membersOf, pack, verify } from "./tar.ts";

/** Where archives are compacted, and how much of a day goes into one. */
export interface Compaction {
  archives: string;
  temporary: string;
  /** Bytes of lines in one archive of a day, before compression; a day with more has several. */
  largest: number;
  now: Date;
  /** No further archive is begun once this returns true. */
  enough: () => boolean;
  say: (line: string) => void;
}

/**
 * Merges the archives of each day that is over into one. The new archive is made, verified and stored before those that
 * it replaces are removed; {@link replacedIn} names those that a killed run left.
 * @throws Failure if one could not be made; what is stored stays
 */
export async function compactDays(manifests: Manifest[], compaction: Compaction): Promise<Manifest[]> {
  const { archives, say } = compaction;
  const made: Manifest[] = [];
  for (const { day, parts, next } of closedDays(manifests, await readdir(archives), compaction)) {
    for (const [index, part] of parts.entries()) {
      if (compaction.enough()) return made;
      const manifest = await compact(part, dayArchiveName(day, next + index), compaction);
      if (!manifest) continue;
      made.push(manifest);
      say(`${manifest.archive}: stands for ${part.length} archives of ${day}, verified and stored`);
    }
  }
  return made;
}

/** The days before today that have several small archives, with the archives in parts of bounded size. */
function closedDays(
  manifests: Manifest[],
  names: string[],
  { now, largest }: Compaction,
): { day: string; parts: Manifest[][]; next: number }[] {
  const today = now.toISOString().slice(0, 10);
  const replaced = new Set(replacedIn(manifests));
  const days = new Map<string, Manifest[]>();
  for (const manifest of manifests) {
    const { day, whole } = dayOf(manifest.archive);
    // Archives of version 1 repeat the same lines; they are removed only when they are old.
    if (day >= today || manifest.version === 1 || replaced.has(manifest.archive)) continue;
    if (!whole) days.set(day, [...(days.get(day) ?? []), manifest]);
  }
  return [...days].map(([day, small]) => {
    const parts: Manifest[][] = [];
    let size = Number.POSITIVE_INFINITY;
    for (const manifest of small) {
      const bytes = manifest.pods.reduce((sum, pod) => sum + pod.bytes, 0);
      if (size + bytes > largest) {
        parts.push([]);
        size = 0;
      }
      parts.at(-1)?.push(manifest);
      size += bytes;
    }
    return { day, parts: parts.filter(({ length }) => length > 1), next: lastPart(names, day) + 1 };
  });
}

/** The highest number of a day's archives, including those whose manifest cannot be read. */
const lastPart = (names: string[], day: string): number =>
  names
    .filter((name) => isArchiveName(name) && dayOf(name).whole && dayOf(name).day === day)
    .reduce((highest, name) => Math.max(highest, Number(name.split(".")[1])), 0);

/** The names of archives that another one replaces but that still exist: a run was killed before it removed them. */
export function replacedIn(manifests: Manifest[]): string[] {
  const replaced = new Map(
    manifests.flatMap(({ replaces = [] }) => replaces.map(({ archive, sha256 }) => [archive, sha256])),
  );
  return manifests
    .filter(({ archive, sha256 }) => replaced.get(archive) === sha256)
    .map(({ archive }) => archive);
}

async function compact(
  manifests: Manifest[],
  archive: string,
  { archives, temporary, now, say }: Compaction,
): Promise<Manifest | undefined> {
  const scratch = await mkdtemp(join(temporary, "compaction-"));
  try {
    const sound: Manifest[] = [];
    for (const manifest of manifests)
      await verify(join(archives, manifest.archive), manifest).then(
        () => sound.push(manifest),
        (error) => say(`${reasonOf(error)}; it stays as it is`),
      );
    if (sound.length < 2) return undefined;
    const directory = join(scratch, "app/logs");
    await mkdir(directory, { recursive: true });
    const pods = await concatenate(sound, archives, directory);
    const path = join(scratch, archive);
    await pack("app/logs/", path, scratch);
    const cursors = sound.at(-1)?.cursors;
    const sequence = sound.at(-1)?.sequence;
    const imported = sound.find((manifest) => manifest.imported !== undefined)?.imported;
    const manifest: Manifest = {
      version: 2,
      archive,
      bytes: (await stat(path)).size,
      sha256: await sha256Of(path),
      started: sound[0]?.started ?? "",
      finished: sound.reduce((newest, { finished }) => (finished > newest ? finished : newest), ""),
      complete: sound.every(({ complete }) => complete),
      lines: pods.reduce((sum, { lines }) => sum + lines, 0),
      tornRecords: sound.reduce((sum, { tornRecords }) => sum + tornRecords, 0),
      pods,
      sources: sound.flatMap(({ sources }) => sources.filter(({ droppedBytes }) => droppedBytes)),
      replaces: sound.map(({ archive, sha256 }) => ({ archive, sha256 })),
      ...(cursors ? { cursors } : {}),
      ...(sequence ? { sequence } : {}),
      ...(imported ? { imported } : {}),
    };
    await verify(path, manifest);
    await keep(path, manifest, archives);
    await remove(
      sound.map((one) => one.archive),
      archives,
    );
    return manifest;
  } catch (cause) {
    throw new Failure(
      `the archives of ${now.toISOString().slice(0, 10)} and before could not be put together`,
      {
        cause,
      },
    );
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Writes each pod's lines of all archives into one file, archive after archive. */
async function concatenate(
  manifests: Manifest[],
  archives: string,
  directory: string,
): Promise<ArchivedPod[]> {
  const files = new PodFiles(directory);
  const pods = new Map<string, { number: number; name: string; segments: number[]; fromNodes: number }>();
  for (const [index, manifest] of manifests.entries()) {
    for await (const { pod, content } of membersOf(join(archives, manifest.archive), manifest)) {
      const known = pods.get(pod.file) ?? { number: pods.size, name: pod.pod, segments: [], fromNodes: 0 };
      pods.set(pod.file, known);
      while (known.segments.length < index) known.segments.push(0);
      known.segments.push(pod.lines);
      known.fromNodes += pod.fromNodes;
      for await (const lines of linesIn(content)) {
        for (const line of lines) files.add(known.number, line, partsOf(line)?.time ?? "", false);
        await files.flushIfLarge();
      }
    }
  }
  const written = await files.end((number) => [...pods.keys()][number] ?? "");
  return [...pods].flatMap(([file, { number, name, segments, fromNodes }]) => {
    const found = written.get(number);
    if (!found) return [];
    const { lines, bytes, sha256, first, last } = found;
    return [{ pod: name, file, lines, bytes, sha256, first, last, fromNodes, segments }];
  });
}
