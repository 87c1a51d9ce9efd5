/** Gets lines out of archives again, each of them once. */
import { hash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { Failure, reasonOf } from "./failure.ts";
import { linesIn, partsOf, printable, textOf } from "./lines.ts";
import { type Manifest, manifestName, newestOf } from "./manifest.ts";
import { above, fetchFrom, manifestsOn } from "./remote.ts";
import { grouped, groupsOf, pad, sorted } from "./rows.ts";
import { manifestBeside, manifestsIn } from "./storage.ts";
import { type Member, membersOf } from "./tar.ts";

/** Which lines of which archives to restore. */
export interface Selection {
  /** `all`, `latest`, an archive's name, or the path of one that has its manifest beside it. */
  from: string;
  since: Date | undefined;
  grep: RegExp | undefined;
  /** If true, damaged archives are left out. */
  skipDamaged: boolean;
}

/** A place with archives: a directory or a remote. */
export interface Shelf {
  /** For messages: a directory or a remote. */
  name: string;
  /** The command that shows what is there. */
  next: string;
  manifests: Manifest[];
  /** The names of manifests that are damaged. */
  unreadable: string[];
  /** An archive's path on this machine. */
  pathOf(archive: string): Promise<string>;
  /** Call it when an archive has been read. */
  release(path: string): Promise<void>;
}

/** The archives in a directory. Throws a Failure if it cannot be read. */
export async function directoryShelf(directory: string, next = `ls ${directory}`): Promise<Shelf> {
  const unreadable: string[] = [];
  const manifests = await manifestsIn(directory, (name) => unreadable.push(name)).catch((cause) => {
    throw new Failure(`${directory} cannot be read`, { cause, next });
  });
  return {
    name: directory,
    next,
    manifests,
    unreadable,
    pathOf: async (archive) => join(directory, archive),
    release: async () => undefined,
  };
}

/** The archives on an rclone remote. They are fetched one at a time into a scratch directory. */
export async function remoteShelf(remote: string, scratch: string): Promise<Shelf> {
  const unreadable: string[] = [];
  const manifests = await manifestsOn(remote, scratch, (name) => unreadable.push(name));
  return {
    name: remote,
    next: `rclone lsf ${manifests.length > 0 ? remote : above(remote)}`,
    manifests,
    unreadable,
    pathOf: (archive) => fetchFrom(remote, archive, scratch),
    release: (path) => rm(path, { force: true }),
  };
}

/** The message for a manifest that cannot be read: its archive is there, but does not count. */
export const unreadableIn = ({ name }: Shelf, manifest: string): string =>
  `${manifest} in ${name} is unreadable, and its archive cannot be verified`;

/** What was restored. */
export interface Restored {
  /** Lines that were passed on. */
  lines: number;
  /** Lines left out because another pod has the same message of the same request earlier. */
  repeats: number;
  read: Manifest[];
  /** What was wrong with the archives that were left out. */
  damaged: string[];
}

/**
 * Verifies archives and passes their lines on, merged by time and safe to print.
 *
 * One run may read a line from its pod, and the next run may read it again from its node. So a line is passed on as often
 * as it is in the one archive that has it most often. If several pods have a request's message, only the earliest pod's
 * lines are passed on: a gateway retries on another pod, and the two may be in different archives.
 *
 * @param temporary a directory with room for one archive and the chosen lines twice
 * @throws Failure for an archive that is missing or damaged, before the first line is passed on
 */
export async function restore(
  shelf: Shelf,
  temporary: string,
  selection: Selection,
  print: (line: string) => Promise<void> | undefined,
): Promise<Restored> {
  const scratch = await mkdtemp(join(temporary, "restore-"));
  try {
    const restored: Restored = { lines: 0, repeats: 0, read: [], damaged: [] };
    const byKey = sorted((add) => read(shelf, selection, restored, add), scratch);
    const byTime = sorted((add) => choose(byKey, restored, add), scratch);
    for await (const rows of byTime)
      for (const row of rows) {
        const full = print(row.slice(row.indexOf("\t", row.indexOf("\t") + 1) + 1));
        restored.lines++;
        if (full) await full;
      }
    return restored;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

type Add = (row: string) => Promise<void> | undefined;

/** Reads the archives that a selection asks for. */
async function read(shelf: Shelf, selection: Selection, restored: Restored, add: Add): Promise<void> {
  const pods = new Map<string, number>();
  let ordinal = 0;
  const chosen = await find(shelf, selection);
  for (const reason of selection.from === "all" ? shelf.unreadable.map((n) => unreadableIn(shelf, n)) : []) {
    if (!selection.skipDamaged) throw new Failure(reason, { next: shelf.next });
    restored.damaged.push(reason);
  }
  for (const { path, manifest } of chosen) {
    let archive = path;
    try {
      archive ??= await shelf.pathOf(manifest.archive);
      for await (const member of membersOf(archive, manifest)) {
        const pod = pods.get(member.pod.pod) ?? pods.size;
        pods.set(member.pod.pod, pod);
        await readMember(member, pod, ordinal, selection, add);
      }
      restored.read.push(manifest);
    } catch (error) {
      if (!selection.skipDamaged) throw error;
      restored.damaged.push(reasonOf(error));
    }
    if (archive !== undefined && path === undefined) await shelf.release(archive);
    ordinal += Math.max(1, ...manifest.pods.map(({ segments }) => segments?.length ?? 1));
  }
}

async function readMember(
  { pod: { segments = [] }, content }: Member,
  pod: number,
  firstOrdinal: number,
  { since, grep }: Selection,
  add: Add,
): Promise<void> {
  const oldest = since?.toISOString() ?? "";
  let ordinal = firstOrdinal;
  let end = segments[0] ?? Number.POSITIVE_INFINITY;
  let number = 0;
  for await (const lines of linesIn(content))
    for (const line of lines) {
      for (; number >= end && ordinal - firstOrdinal < segments.length - 1; ordinal++)
        end += segments[ordinal - firstOrdinal + 1] ?? 0;
      number++;
      const shown = printable(line);
      const { time = "", rest } = partsOf(shown) ?? {};
      if (time < oldest || (grep && !grep.test(textOf(shown)))) continue;
      const key = rest ? digestOf(rest) : `${pad(pod, 6)}${digestOf(shown)}`;
      const full = add(`${key}\t${time}\t${pad(pod, 6)}\t${pad(ordinal, 8)}\t${pad(number, 12)}\t${shown}`);
      if (full) await full;
    }
}

const digestOf = (line: string): string => hash("sha256", line, "base64");

interface Row {
  request: string;
  time: string;
  pod: string;
  ordinal: string;
  place: string;
  line: string;
}

function decode(text: string): Row & { key: string } {
  const cells = text.split("\t", 5);
  const [request = "", time = "", pod = "", ordinal = "", number = ""] = cells;
  const line = text.slice(cells.reduce((sum, { length }) => sum + length + 1, 0));
  return {
    key: `${request}\t${time}\t${pod}`,
    request,
    time,
    pod,
    ordinal,
    place: `${pod} ${ordinal} ${number}`,
    line,
  };
}

/** Chooses the rows to pass on and adds them to be sorted by time. It takes rows sorted by request, time and pod. */
async function choose(rows: AsyncIterable<string[]>, restored: Restored, add: Add): Promise<void> {
  let winner: Row | undefined;
  for await (const groups of groupsOf(rows, decode))
    for (const group of groups) {
      const [first] = group;
      if (first && first.request !== winner?.request) winner = first;
      for (const { time, pod, place, line } of mostOfOneArchive(group)) {
        if (pod !== winner?.pod) restored.repeats++;
        else {
          const full = add(`${time}\t${place}\t${line}`);
          if (full) await full;
        }
      }
    }
}

function mostOfOneArchive(copies: Row[]): Row[] {
  if (copies.length === 1) return copies;
  const archives = grouped(copies, ({ ordinal }) => ordinal);
  return archives.reduce((most, some) => (some.length > most.length ? some : most));
}

/** The archives that a selection asks for; `path` is set if the selection is a path. */
async function find(
  shelf: Shelf,
  { from, since }: Selection,
): Promise<{ manifest: Manifest; path?: string }[]> {
  if (from.includes("/")) return [{ path: from, manifest: await manifestBeside(from) }];
  const { manifests, name, next } = shelf;
  const chosen =
    from === "all"
      ? manifests
      : from === "latest"
        ? [newestOf(manifests) ?? manifests.at(-1) ?? []].flat()
        : manifests.filter(({ archive }) => archive === from || manifestName(archive) === from);
  if (chosen.length === 0) {
    const what = from === "latest" || from === "all" ? "no archive" : `no archive named ${from}`;
    throw new Failure(`there is ${what} in ${name}`, { next });
  }
  const oldest = since?.toISOString() ?? "";
  const recent = ({ pods }: Manifest): boolean => pods.some(({ last }) => last === "" || last >= oldest);
  return chosen.filter((manifest) => oldest === "" || recent(manifest)).map((manifest) => ({ manifest }));
}
