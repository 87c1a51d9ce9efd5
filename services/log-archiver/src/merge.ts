/** Merges what pods serve and what nodes keep into one file of lines per pod, in bounded memory. */
import { hash } from "node:crypto";
import { rm } from "node:fs/promises";
import { linesOf, partsOf } from "./lines.ts";
import type { ArchivedPod } from "./manifest.ts";
import { lineOf, type StorePart, storedLinesOf } from "./node-store.ts";
import { PodFiles } from "./pod-files.ts";
import type { PodPart } from "./pod-log.ts";
import { grouped, groupsOf, pad, sorted } from "./rows.ts";

/** What merging did. */
export interface Merged {
  pods: ArchivedPod[];
  lines: number;
  /** Half lines that killed agents left in the stores; the whole lines follow them. */
  tornRecords: number;
}

interface Row {
  key: string;
  pod: number;
  time: string;
  /** L: from the pod itself. N: from a node's store. */
  origin: string;
  /** Orders lines of one moment. For N it tells which line of which file this is. */
  position: string;
  line: string;
}

/** The key of a pod's line: its time, or the digest of a text that is not a line of the API. */
const keyOf = (line: string, pod: number): string => {
  const time = partsOf(line)?.time ?? "";
  return `${time}\t${pad(pod, 6)}\t${time === "" ? hash("sha256", line, "hex").slice(0, 32) : ""}`;
};

function decode(text: string): Row {
  const cells: string[] = [];
  let start = 0;
  for (let cell = 0; cell < 5; cell++) {
    const end = text.indexOf("\t", start);
    cells.push(text.slice(start, end));
    start = end + 1;
  }
  const [time = "", pod = "", digest = "", origin = "", position = ""] = cells;
  return {
    key: `${time}\t${pod}\t${digest}`,
    pod: Number(pod),
    time,
    origin,
    position,
    line: text.slice(start),
  };
}

/** Gives pods numbers, which are shorter than UIDs. A pod's name may become known later than its lines. */
class Pods {
  readonly uids: string[] = [];
  readonly names = new Map<number, string>();
  readonly #numbers = new Map<string, number>();

  numberOf(uid: string, name: string | null): number {
    let number = this.#numbers.get(uid);
    if (number === undefined) {
      number = this.uids.push(uid) - 1;
      this.#numbers.set(uid, number);
    }
    if (name !== null && !this.names.has(number) && isName(name)) this.names.set(number, name);
    return number;
  }

  nameOf(number: number): string {
    const uid = this.uids[number] ?? "";
    return this.names.get(number) ?? `unknown-${isName(uid) ? uid : hash("sha256", uid, "hex").slice(0, 32)}`;
  }
}

/** True for a name by RFC 1123, which is safe as a file's name. */
const isName = (text: string): boolean => /^[a-z0-9A-Z]([\w.-]{0,251}[a-z0-9A-Z])?$/.test(text);

/**
 * Writes one file per pod into `directory`, its lines in the order of their times, and removes what was read.
 *
 * A pod's line is written as often as the pod serves it, or as often as the stores have it at different places of the
 * log, whichever is more. It may occur several times because a client may repeat a request.
 *
 * @param scratch a directory with room for the lines
 */
export async function merge(
  podParts: PodPart[],
  storeParts: StorePart[],
  directory: string,
  scratch: string,
): Promise<Merged> {
  const pods = new Pods();
  const files = new PodFiles(directory);
  let tornRecords = 0;
  const gaps = new Map(
    podParts.flatMap(({ pod, uid, gap }) => (gap ? [[pods.numberOf(uid, pod), gap]] : [])),
  );

  const rows = sorted(async (add) => {
    for (const { pod, uid, path, start, end } of podParts) {
      const number = pods.numberOf(uid, pod);
      let position = 0;
      for await (const lines of linesOf(path, { start, end }))
        for (const line of lines) {
          const full = add(`${keyOf(line, number)}\tL\t${pad(position++)}\t${line}`);
          if (full) await full;
        }
      await rm(path);
    }
    for (const part of storeParts) {
      for await (const records of storedLinesOf(part, () => tornRecords++))
        for (const record of records) {
          const number = pods.numberOf(record.uid, record.pod);
          const line = lineOf(record);
          const position = `${pad(record.offset)} ${record.file.replaceAll(/[\t\n]/g, " ")}`;
          const full = add(`${keyOf(line, number)}\tN\t${position}\t${line}`);
          if (full) await full;
        }
      await rm(part.path);
    }
  }, scratch);

  for await (const groups of groupsOf(rows, decode)) {
    for (const group of groups) {
      for (const { pod, time, line, origin } of chosen(group)) {
        files.add(pod, line, time, origin === "N");
        const gap = gaps.get(pod);
        // The pod itself dropped this line, but its node has it.
        if (gap && origin === "N" && time >= gap.after && (gap.before === "" || time <= gap.before))
          gap.bytes = Math.max(0, gap.bytes - line.length - 1);
      }
    }
    await files.flushIfLarge();
  }
  const named = new Set<string>();
  const fileOf = (number: number): string => {
    const name = pods.nameOf(number);
    // A StatefulSet makes several pods with one name, one after the other.
    let own = `${name}.log`;
    for (let other = 1; named.has(own); other++) own = `${name}.${other}.log`;
    named.add(own);
    return own;
  };
  const names = new Map<number, string>();
  const written = await files.end((number) => {
    const file = fileOf(number);
    names.set(number, file);
    return file;
  });
  const archived = [...written].map(([number, { lines, bytes, sha256, first, last, fromNodes }]) => ({
    pod: pods.nameOf(number),
    file: names.get(number) ?? "",
    ...{ lines, bytes, sha256, first, last, fromNodes },
  }));
  return {
    pods: archived.sort((a, b) => (a.file < b.file ? -1 : 1)),
    lines: archived.reduce((sum, { lines }) => sum + lines, 0),
    tornRecords,
  };
}

/** Those rows of one pod and one moment that are kept. */
function chosen(rows: Row[]): Row[] {
  if (rows.length === 1) return rows;
  const stay = grouped(rows, ({ line }) => line).flatMap((copies) => {
    const served = copies.filter(({ origin }) => origin === "L");
    // A line that was collected again carries the same file and offset.
    const places = new Map(copies.filter(({ origin }) => origin === "N").map((row) => [row.position, row]));
    if (served.length >= places.size) return served;
    const stored = [...places.values()];
    return served.length > 0 ? stored.map((row) => ({ ...row, origin: "L" })) : stored;
  });
  return stay.sort((a, b) => (a.origin + a.position < b.origin + b.position ? -1 : 1));
}
