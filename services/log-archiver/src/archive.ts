/** One run: fetch what is new from every pod and every node's store, merge, pack, verify, keep, forget what is old. */
import { mkdir, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { compactDays, replacedIn } from "./compaction.ts";
import { type Cluster, type Source, sourcesOf } from "./endpoints.ts";
import { Failure, reasonOf } from "./failure.ts";
import { withLock } from "./lock.ts";
import { archiveName, type Cursors, type Manifest, newestCursors, type SourceReport } from "./manifest.ts";
import { merge } from "./merge.ts";
import { fetchStore, type StorePart } from "./node-store.ts";
import { fetchPodLog, type PodPart } from "./pod-log.ts";
import { copyToRemote } from "./remote.ts";
import { ageReference, expired } from "./retention.ts";
import { keep, manifestsIn, remove, removeRemains, sha256Of } from "./storage.ts";
import { pack, verify } from "./tar.ts";

/** A headless Service. */
export interface ServiceName {
  namespace: string;
  service: string;
}

/** What a run works on. */
export interface Run {
  cluster: Cluster;
  app: ServiceName;
  stores: ServiceName;
  /** Directory that is packed. */
  logs: string;
  /** Directory for archives being made, with room for the new lines twice. */
  temporary: string;
  /** Directory that outlives the pod. */
  archives: string;
  /** An rclone remote, such as `s3:bucket/path`; empty for none. */
  remote: string;
  /** No line that is younger is removed. */
  keepDays: number;
  /** How long a source that serves is tried again, in milliseconds; each is tried at least once. */
  patienceMs: number;
  /** How long another run is waited for, in seconds. */
  lockSeconds: number;
  /** Bytes that are read for one archive; a run makes several where there is more. */
  largest: number;
  /** After so many milliseconds a run begins no further archive. */
  enoughMs: number;
  say: (line: string) => void;
}

/**
 * Archives every line that no archive holds yet, in one archive or, where they are many, several. A source that cannot
 * be read does not keep the others from being archived: the manifest names it and is not `complete`, and the next run
 * goes on where that source was left.
 * @returns the manifests of the archives that were made
 * @throws Failure where nothing could be archived, or not be stored; what was stored earlier stays
 */
export function archive(run: Run): Promise<Manifest[]> {
  const started = new Date();
  return withLock(run.archives, run.lockSeconds, () => archiveAlone(run, started));
}

async function archiveAlone(run: Run, started: Date): Promise<Manifest[]> {
  const { archives, temporary, remote, say } = run;
  const enough = (): boolean => Date.now() - started.getTime() > run.enoughMs;
  const reference = ageReference(await manifestsIn(archives), started);
  // First, for a volume that is full has room again only by this.
  await forget(run, started, reference);
  const failures: unknown[] = [];
  const made = await archiveAll(run, enough).catch((error: unknown) => {
    failures.push(error);
    return [];
  });
  await forget(run, started, reference);
  if (failures.length === 0)
    await compactDays(await manifestsIn(archives), {
      ...{ archives, temporary, enough, say },
      largest: run.largest,
      now: started,
    }).catch((error: unknown) => failures.push(error));
  if (remote !== "")
    await copyToRemote(archives, await manifestsIn(archives), remote).then(
      (copied) => {
        for (const archive of copied) say(`${archive}: copied to ${remote}`);
      },
      (error: unknown) => failures.push(error),
    );
  if (failures.length > 0) throw failures[0];
  return made;
}

/** Makes archives until nothing is new, or no time is left. */
async function archiveAll(run: Run, enough: () => boolean): Promise<Manifest[]> {
  const made: Manifest[] = [];
  for (;;) {
    const { manifest, more } = await archiveOnce(run);
    made.push(manifest);
    // A line that is larger than what is read for one archive would be waited for without an end.
    if (!more || manifest.sources.every(({ bytes }) => bytes === 0)) return made;
    if (enough()) {
      run.say("there is more to archive than this run has time for: the next one goes on");
      return made;
    }
  }
}

/** Removes what is too old, what a day's archive stands for, and what killed runs left. */
async function forget({ archives, keepDays, say }: Run, now: Date, reference: Date): Promise<void> {
  const manifests = await manifestsIn(archives);
  const old = expired(manifests, keepDays, reference).map(({ archive }) => archive);
  await remove(old, archives);
  for (const archive of old) say(`${archive}: removed, all its lines are older than ${keepDays} days`);
  await remove(replacedIn(manifests), archives);
  for (const remains of await removeRemains(archives, now))
    say(`${remains}: removed, a run left it half-done`);
}

async function archiveOnce(run: Run): Promise<{ manifest: Manifest; more: boolean }> {
  const { logs, temporary, archives, say } = run;
  const started = new Date();
  const name = archiveName(started);
  const path = join(temporary, name);
  await mkdir(logs, { recursive: true });
  // What an earlier run in this container left would be archived as if it were new.
  for (const old of await readdir(logs)) await rm(join(logs, old), { recursive: true, force: true });

  const scratch = await mkdtemp(join(temporary, "archiver-"));
  try {
    const { cursors, sequence } = newestCursors(await manifestsIn(archives));
    const { podParts, storeParts, sources, next, more } = await collect(run, cursors, scratch);
    const merged = await merge(podParts, storeParts, logs, scratch);
    for (const { pod, gap } of podParts) {
      const report = sources.find(({ kind, name }) => kind === "pod" && name === pod);
      if (report && gap && gap.bytes > 0) report.droppedBytes = gap.bytes;
    }
    for (const { kind, name, droppedBytes = 0 } of sources) {
      if (droppedBytes > 0) say(`${kind} ${name}: DROPPED ${droppedBytes} bytes before they were archived`);
      next.dropped[kind] += droppedBytes;
    }
    say(await pack(`${logs.replace(/\/$/, "")}/`, path));
    const manifest: Manifest = {
      version: 2,
      archive: name,
      bytes: (await stat(path)).size,
      sha256: await sha256Of(path),
      started: started.toISOString(),
      finished: new Date().toISOString(),
      complete: sources.every(({ missed }) => missed !== true),
      ...merged,
      sources,
      sequence,
      cursors: next,
    };
    await verify(path, manifest);
    await keep(path, manifest, archives);
    const { lines, pods, bytes } = manifest;
    say(`${name}: ${lines} lines of ${pods.length} pods, ${bytes} bytes, verified and stored`);
    return { manifest, more };
  } finally {
    await rm(path, { force: true });
    await rm(scratch, { recursive: true, force: true });
  }
}

const pauseMs = 2000;
// A pod or node that was not seen for so long is read from its beginning when it comes back.
const forgottenAfterMs = 2 * 86_400_000;

interface Collected {
  podParts: PodPart[];
  storeParts: StorePart[];
  sources: SourceReport[];
  next: Cursors;
  more: boolean;
}

/** Fetches what is new from every pod and every store, whatever becomes of the others. */
async function collect(run: Run, before: Cursors, scratch: string): Promise<Collected> {
  const { cluster, app, stores, patienceMs, say } = run;
  const next: Cursors = {
    pods: remembered(before.pods),
    stores: remembered(before.stores),
    dropped: { ...before.dropped },
  };
  const collected: Collected = { podParts: [], storeParts: [], sources: [], next, more: false };
  const { podParts, storeParts, sources } = collected;
  let left = run.largest;
  const read = async (
    kind: SourceReport["kind"],
    { namespace, service }: ServiceName,
    fetchFrom: (source: Source) => Promise<{ bytes: number; dropped?: number }>,
  ): Promise<void> => {
    const reports = new Map<string, SourceReport>();
    const deadline = Date.now() + patienceMs;
    for (let known = await sourcesOf(cluster, namespace, service); ; await sleep(pauseMs)) {
      for (const source of known) {
        const { pod: name, uid } = source;
        const earlier = reports.get(uid);
        if (earlier && earlier.error === undefined) continue;
        if (left <= 0) {
          collected.more = true;
          break;
        }
        try {
          const { bytes, dropped } = await fetchFrom(source);
          left -= bytes;
          reports.set(uid, { kind, name, bytes, ...(dropped ? { droppedBytes: dropped } : {}) });
          say(`${kind} ${name}: ${bytes} bytes`);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === "ENOSPC") throw error;
          reports.set(uid, { kind, name, bytes: 0, error: reasonOf(error) });
        }
      }
      const failed = [...reports].filter(([, { error }]) => error !== undefined);
      if (failed.length === 0) break;
      known = await sourcesOf(cluster, namespace, service).catch(() => known);
      const serving = new Set(known.filter((source) => source.serving).map(({ uid }) => uid));
      for (const [uid, report] of failed) {
        // One that went away meanwhile has left its lines in its node's store.
        report.missed = serving.has(uid);
        say(`${kind} ${report.name}: ${report.missed ? "FAILED" : "not serving"}: ${report.error}`);
      }
      const nothingRead = failed.length === reports.size;
      const worthwhile = nothingRead || failed.some(([, { missed }]) => missed);
      if (!worthwhile || left <= 0 || Date.now() >= deadline) break;
    }
    sources.push(...reports.values());
  };
  // Pods first: a line that comes later is in a store, or in the next archive.
  await read("pod", app, async (source) => {
    const { uid } = source;
    const part = await fetchPodLog(source, before.pods[uid], join(scratch, `pod-${podParts.length}`), left);
    podParts.push(part);
    if (part.more) collected.more = true;
    if (part.cursor) next.pods[uid] = part.cursor;
    else delete next.pods[uid];
    return { bytes: part.end - part.start };
  });
  await read("node-store", stores, async ({ uid, node, url }) => {
    const key = node ?? uid;
    const fetched = await fetchStore(
      url,
      before.stores[key],
      join(scratch, `store-${storeParts.length}`),
      left,
    );
    storeParts.push(...fetched.parts);
    if (fetched.more) collected.more = true;
    next.stores[key] = fetched.cursor;
    return { bytes: fetched.bytes, dropped: fetched.dropped };
  });
  if (sources.length > 0 && sources.every(({ error }) => error !== undefined))
    throw new Failure("no pod and no node's store could be read", { cause: sources[0]?.error });
  return collected;
}

function remembered<T extends { seen: string }>(cursors: Record<string, T>): Record<string, T> {
  const oldest = new Date(Date.now() - forgottenAfterMs).toISOString();
  return Object.fromEntries(Object.entries(cursors).filter(([, { seen }]) => seen >= oldest));
}
