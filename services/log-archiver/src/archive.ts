/** One run: fetches what is new from pods and nodes' stores, merges, packs, verifies and stores it, removes old archives. */
import { mkdir, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { collect, type Sources } from "./collect.ts";
import { compactDays, replacedIn } from "./compaction.ts";
import { withLock } from "./lock.ts";
import { archiveName, type Manifest, newestCursors } from "./manifest.ts";
import { merge } from "./merge.ts";
import { copyToRemote } from "./remote.ts";
import { ageReference, expired } from "./retention.ts";
import { keep, manifestsIn, remove, removeRemains, sha256Of } from "./storage.ts";
import { pack, verify } from "./tar.ts";

/** What a run works on. It makes several archives if there is more than `largest` to read. */
export interface Run extends Sources {
  /** Directory that is packed. */
  logs: string;
  /** Directory for archives being made. It needs room for twice the new lines. */
  temporary: string;
  /** Directory that outlives the pod. */
  archives: string;
  /** An rclone remote, such as `s3:bucket/path`; empty for none. */
  remote: string;
  /** Lines that are younger than this are not removed. */
  keepDays: number;
  /** How long to wait for another run, in seconds. */
  lockSeconds: number;
  /** After this many milliseconds a run begins no further archive. */
  enoughMs: number;
}

/**
 * Archives every line that no archive holds yet, in one archive or in several if there are many. A source that cannot be
 * read does not keep the others from being archived: the manifest names it and is not `complete`, and the next run goes
 * on where it was last read.
 * @returns the manifests of the archives that were made
 * @throws Failure if nothing could be archived or stored; what was stored earlier stays
 */
export function archive(run: Run): Promise<Manifest[]> {
  const started = new Date();
  return withLock(run.archives, run.lockSeconds, () => archiveAlone(run, started));
}

async function archiveAlone(run: Run, started: Date): Promise<Manifest[]> {
  const { archives, temporary, remote, say } = run;
  const enough = (): boolean => Date.now() - started.getTime() > run.enoughMs;
  const reference = ageReference(await manifestsIn(archives), started);
  // This comes first, because nothing else gives a full volume room again.
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

/** Makes archives until nothing new is left, or no time. */
async function archiveAll(run: Run, enough: () => boolean): Promise<Manifest[]> {
  const made: Manifest[] = [];
  for (;;) {
    const { manifest, more } = await archiveOnce(run);
    made.push(manifest);
    // A line that is larger than `largest` would otherwise be waited for without end.
    if (!more || manifest.sources.every(({ bytes }) => bytes === 0)) return made;
    if (enough()) {
      run.say("there is more to archive than this run has time for: the next one goes on");
      return made;
    }
  }
}

/** Removes archives that are too old or replaced by a day's archive, and what killed runs left. */
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
  // The remains of an earlier run in this container would be archived as if they were new.
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
