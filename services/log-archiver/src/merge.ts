/** Merging what pods serve and what nodes keep into one file of lines per pod, in bounded memory. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { createHash, hash } from "node:crypto";
import { once } from "node:events";
import { createWriteStream, type WriteStream } from "node:fs";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { Failure } from "./failure.ts";
import { linesIn, linesOf, partsOf } from "./lines.ts";
import { storedLinesOf, textOf } from "./node-store.ts";

/** A file fetched from a pod's GET /logs. */
export interface PodFile {
  pod: string;
  uid: string;
  path: string;
}

/** One pod's file in the archive. */
export interface MergedPod {
  pod: string;
  file: string;
  lines: number;
  bytes: number;
  sha256: string;
  /** Times of the first and the last line, RFC 3339; empty for a text that is no line of the API. */
  first: string;
  last: string;
  /** Lines that only a node's store had. */
  fromNodes: number;
}

/** What merging did. */
export interface Merged {
  pods: MergedPod[];
  lines: number;
  /** Lines dropped because another pod has the same message of the same request, earlier. */
  repeatsDropped: number;
  /** Halves of lines in the stores, from agents that were killed; their lines follow whole. */
  tornRecords: number;
}

interface Row {
  key: string;
  uid: string;
  time: string;
  /** L: from the pod itself. N: from a node's store. */
  origin: string;
  /** Orders lines of one moment; for N it says which line of which file it is. */
  position: string;
  line: string;
}

const pad = (value: number): string => String(value).padStart(16, "0");
const fields = ["key", "uid", "time", "origin", "position"] as const;

/**
 * Writes one file per pod into `directory`, its lines in the order of their times.
 *
 * A pod's line is there as often as the pod serves it, or as often as the stores have it at different places of the
 * log, whichever is more: a client may repeat a request. Of one (request id, digest of the message) over several
 * pods, what the earliest one has stays: a gateway retries on another pod.
 *
 * @param scratch a directory with room for the lines twice
 */
export async function merge(
  podFiles: PodFile[],
  storeFiles: string[],
  directory: string,
  scratch: string,
): Promise<Merged> {
  const names = new Map(podFiles.map(({ uid, pod }) => [uid, pod]));
  const merged: Merged = { pods: [], lines: 0, repeatsDropped: 0, tornRecords: 0 };

  const byKey = sorter(scratch, ["-k1,1", "-k2,2", "-k3,3", "-k5,5"]);
  const byPod = sorter(scratch, ["-k1,1", "-k2,2", "-k4,4"]);
  try {
    await Promise.all([
      byKey.ended,
      byPod.ended,
      fill(
        byKey,
        rowsOf(podFiles, storeFiles, names, () => merged.tornRecords++),
      ),
      fill(
        byPod,
        chosenLines(byKey, names, () => merged.repeatsDropped++),
      ),
      writePods(byPod, directory, merged),
    ]);
  } finally {
    for (const { child } of [byKey, byPod]) child.kill();
  }
  merged.lines = merged.pods.reduce((sum, { lines }) => sum + lines, 0);
  return merged;
}

interface Sort {
  child: ChildProcessWithoutNullStreams;
  /** Rejects with what sort has to complain of. */
  ended: Promise<void>;
}

/** coreutils' sort: external, so that memory stays bounded; stable, so that equal keys keep their order. */
function sorter(scratch: string, keys: string[]): Sort {
  const args = ["--stable", "--field-separator=\t", "--buffer-size=64M", `--temporary-directory=${scratch}`];
  const child = spawn("sort", [...args, ...keys], { env: { ...process.env, LC_ALL: "C" } });
  let complaint = "";
  child.stderr.on("data", (chunk) => {
    complaint += chunk;
  });
  // Its exit says what went wrong; writing to a process that has gone says only EPIPE.
  child.stdin.on("error", () => undefined);
  const ended = once(child, "close").then(([code]) => {
    if (code !== 0) throw new Failure(`sort failed: ${complaint.trim() || `exit code ${code}`}`);
  });
  return { child, ended };
}

/** Gives a sort its rows, as fast as it takes them. */
async function fill({ child: { stdin } }: Sort, rows: AsyncIterable<string>): Promise<void> {
  let batch = "";
  const flush = async (): Promise<void> => {
    const full = !stdin.write(batch);
    batch = "";
    if (full && stdin.writable) await Promise.race([once(stdin, "drain"), once(stdin, "close")]);
  };
  for await (const row of rows) {
    batch += row;
    if (batch.length > 256 * 1024) await flush();
  }
  await flush();
  stdin.end();
}

function encode(row: Row): string {
  return `${fields.map((field) => row[field]).join("\t")}\t${row.line}\n`;
}

function decode(text: string): Row {
  const cells: string[] = [];
  let start = 0;
  for (let cell = 0; cell < fields.length; cell++) {
    const end = text.indexOf("\t", start);
    cells.push(text.slice(start, end));
    start = end + 1;
  }
  const [key = "", uid = "", time = "", origin = "", position = ""] = cells;
  return { key, uid, time, origin, position, line: text.slice(start) };
}

/** What makes two lines one: a request's id with its message's digest; for any other text the text, on its pod. */
function identify(line: string, uid: string): { key: string; time: string } {
  const parts = partsOf(line);
  if (!parts) return { key: `- ${uid} ${hash("sha256", line, "base64")}`, time: "" };
  return { key: `${parts.id} ${hash("sha256", parts.message, "base64")}`, time: parts.time };
}

async function* rowsOf(
  podFiles: PodFile[],
  storeFiles: string[],
  names: Map<string, string>,
  torn: () => void,
): AsyncGenerator<string> {
  for (const { uid, path } of podFiles) {
    let number = 0;
    for await (const line of linesOf(path))
      yield encode({ ...identify(line, uid), uid, origin: "L", position: pad(number++), line });
  }
  for (const path of storeFiles) {
    for await (const stored of storedLinesOf(path, torn)) {
      const { uid, pod, file, offset } = stored;
      if (pod !== null) names.set(uid, pod);
      const line = textOf(stored);
      yield encode({ ...identify(line, uid), uid, origin: "N", position: `${pad(offset)} ${file}`, line });
    }
  }
}

/** Of the rows sorted by key, those that stay, as rows to be sorted by pod and time. */
async function* chosenLines(
  { child }: Sort,
  names: Map<string, string>,
  dropped: () => void,
): AsyncGenerator<string> {
  for await (const group of groupsOf(child.stdout)) {
    // Times of one format sort as text.
    const [earliest] = group.toSorted((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
    const winner = earliest?.uid;
    for (const copies of grouped(group, ({ uid, time }) => `${uid} ${time}`)) {
      const served = copies.filter(({ origin }) => origin === "L");
      // A line that was collected again carries the same file and offset.
      const places = grouped(
        copies.filter(({ origin }) => origin === "N"),
        ({ position }) => position,
      );
      const kept = places.flatMap(([row]) => row ?? []);
      for (const row of served.length >= kept.length ? served : kept) {
        if (row.uid !== winner) {
          dropped();
          continue;
        }
        const pod = names.get(row.uid) ?? `unknown-${row.uid}`;
        const origin = served.length > 0 ? "L" : "N";
        yield `${pod}\t${row.time}\t${origin}\t${row.position}\t${row.line}\n`;
      }
    }
  }
}

function grouped<T>(items: T[], by: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(by(item));
    if (group) group.push(item);
    else groups.set(by(item), [item]);
  }
  return [...groups.values()];
}

async function* groupsOf(stdout: AsyncIterable<Buffer>): AsyncGenerator<Row[]> {
  let group: Row[] = [];
  for await (const text of linesIn(stdout)) {
    const row = decode(text);
    if (group[0] && group[0].key !== row.key) {
      yield group;
      group = [];
    }
    group.push(row);
  }
  if (group.length > 0) yield group;
}

async function writePods({ child }: Sort, directory: string, merged: Merged): Promise<void> {
  let current: { pod: MergedPod; stream: WriteStream; digest: ReturnType<typeof createHash> } | undefined;
  const close = async (): Promise<void> => {
    if (!current) return;
    current.stream.end();
    await finished(current.stream);
    current.pod.sha256 = current.digest.digest("hex");
    merged.pods.push(current.pod);
  };
  for await (const text of linesIn(child.stdout)) {
    const [, pod = "", time = "", origin = "", line = ""] =
      /^([^\t]*)\t([^\t]*)\t([^\t]*)\t[^\t]*\t([\s\S]*)$/.exec(text) ?? [];
    if (current?.pod.pod !== pod) {
      await close();
      const file = `${pod}.log`;
      const counts = { lines: 0, bytes: 0, sha256: "", first: time, last: time, fromNodes: 0 };
      current = {
        pod: { pod, file, ...counts },
        stream: createWriteStream(join(directory, file)),
        digest: createHash("sha256"),
      };
      // Without a listener a full disk would end the process before `finished` can say so.
      current.stream.on("error", () => undefined);
    }
    const bytes = Buffer.from(`${line}\n`);
    current.digest.update(bytes);
    current.pod.lines++;
    current.pod.bytes += bytes.length;
    current.pod.last = time;
    if (origin === "N") current.pod.fromNodes++;
    if (current.stream.errored) throw current.stream.errored;
    if (!current.stream.write(bytes))
      await Promise.race([once(current.stream, "drain"), once(current.stream, "close")]);
  }
  await close();
}
