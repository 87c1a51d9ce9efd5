/** Fills the search store again from the archives and the nodes' stores. Lines that it has already are left alone. */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Source } from "./endpoints.ts";
import { Failure, reasonOf } from "./failure.ts";
import { Feeder } from "./feed.ts";
import { linesIn, partsOf, textOf } from "./lines.ts";
import type { Manifest } from "./manifest.ts";
import { type Shelf, unreadableIn } from "./restore.ts";
import { pad, sorted } from "./rows.ts";
import { jsonOf, requestCharacters, type SearchLine, type SearchStore } from "./search-store.ts";
import { membersOf, verify } from "./tar.ts";

/** Where lines come from, and which of them are wanted. */
export interface Refill {
  shelf: Shelf;
  /** The nodes' stores. */
  sources: () => Promise<Source[]>;
  search: SearchStore;
  /** A directory with room for one archive's lines. */
  temporary: string;
  /** Older lines are left out: the search store would drop them. */
  since: Date;
  /** If true, damaged archives are left out. */
  skipDamaged: boolean;
  say: (line: string) => void;
}

/** What was done. */
export interface Refilled {
  /** Lines that were missing and have been added. */
  added: number;
  archives: number;
  /** What could not be read, with the reason. */
  leftOut: string[];
}

/**
 * Looks for every line of the archives and the nodes' stores, and sends on those that are missing. You may stop it and
 * run it again at any time.
 * @throws Failure for a damaged archive, unless such archives are skipped, and if the search store does not take lines
 */
export async function refill(work: Refill): Promise<Refilled> {
  const { shelf, skipDamaged, say } = work;
  const oldest = work.since.toISOString();
  const done: Refilled = { added: 0, archives: 0, leftOut: [] };
  for (const name of shelf.unreadable) {
    if (!skipDamaged) throw new Failure(unreadableIn(shelf, name), { next: shelf.next });
    done.leftOut.push(unreadableIn(shelf, name));
  }
  const recent = shelf.manifests.filter(({ pods }) => pods.some(({ last }) => last === "" || last >= oldest));
  for (const manifest of recent) {
    const path = await shelf.pathOf(manifest.archive);
    try {
      await verify(path, manifest);
    } catch (error) {
      if (!skipDamaged) throw error;
      done.leftOut.push(reasonOf(error));
      continue;
    }
    const added = await fromArchive(path, manifest, oldest, work);
    done.added += added;
    done.archives++;
    say(`${manifest.archive}: ${added} lines were missing`);
    await shelf.release(path);
  }
  await fromStores(work, done);
  await work.search.flush();
  return done;
}

async function fromArchive(
  path: string,
  manifest: Manifest,
  oldest: string,
  { search, temporary }: Refill,
): Promise<number> {
  const scratch = await mkdtemp(join(temporary, "refill-"));
  try {
    const rows = sorted((add) => readArchive(path, manifest, oldest, add), scratch);
    let added = 0;
    let batch: SearchLine[] = [];
    let characters = 0;
    const send = async (): Promise<void> => {
      const missing = await search.missing(batch);
      await search.insert(missing);
      added += missing.length;
      batch = [];
      characters = 0;
    };
    for await (const texts of rows)
      for (const text of texts) {
        const time = text.slice(0, text.indexOf("\t"));
        // Lines of one moment are asked for together.
        if (characters > requestCharacters && time !== batch.at(-1)?.time) await send();
        const json = text.slice(text.indexOf("\t", time.length + 1) + 1);
        batch.push({ time, json });
        characters += json.length;
      }
    await send();
    return added;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

type Add = (row: string) => Promise<void> | undefined;

/** Adds an archive's lines, in the form that the search store takes, to be sorted by time. */
async function readArchive(path: string, manifest: Manifest, oldest: string, add: Add): Promise<void> {
  for await (const { pod, content } of membersOf(path, manifest)) {
    let time = pod.first || manifest.started;
    let offset = 0;
    for await (const lines of linesIn(content))
      for (const line of lines) {
        const parts = partsOf(line);
        time = parts?.time ?? time;
        offset++;
        if (time < oldest) continue;
        const [request_id, message] = parts ? twoOf(parts.rest) : [undefined, line];
        const json = jsonOf({
          archive: manifest.archive,
          file: `${manifest.archive}/${pod.file}`,
          message: textOf(message),
          namespace: "logging",
          offset,
          pod: pod.pod,
          ...(request_id === undefined ? {} : { request_id: textOf(request_id) }),
          time,
        });
        const full = add(`${time}\t${pad(offset, 12)}\t${json}`);
        if (full) await full;
      }
  }
}

const twoOf = (rest: string): [string, string] => {
  const space = rest.indexOf(" ");
  return [rest.slice(0, space), rest.slice(space + 1)];
};

/** Reads the nodes' stores from their beginnings, by a feeder that remembers nothing. */
async function fromStores({ sources, search, temporary, say }: Refill, done: Refilled): Promise<void> {
  const directory = await mkdtemp(join(temporary, "refill-"));
  const complaints: string[] = [];
  try {
    const feeder = new Feeder(sources, search, directory, (reason) => complaints.push(reason));
    while (!(await feeder.round()) && complaints.length === 0);
    done.leftOut.push(...complaints);
    const { values } = (await feeder.registry.getSingleMetric("log_search_lines_total")?.get()) ?? {};
    const added = (values ?? []).reduce((sum, { value }) => sum + value, 0);
    done.added += added;
    say(`the nodes' stores: ${added} lines were missing`);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
