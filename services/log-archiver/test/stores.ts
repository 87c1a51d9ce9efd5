/** What an agent would have stored of a pod's file, and a store that is rotated and dropped as an agent's is. */
import { appendFileSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Platform, Pod } from "./platform.ts";

/** The records of a pod's whole lines, from one of its log's files. `known` says whether the agent knows the pod's name. */
export function collect(
  platform: Platform,
  pod: Pod,
  { known = true, from = 0, file = "app.log" } = {},
): string[] {
  const log = `${pod.uid}/volumes/kubernetes.io~empty-dir/logs/app.log`;
  const name = known ? { namespace: "logging", pod: pod.name } : { namespace: null, pod: null };
  const lines = readFileSync(join(platform.directory, "pods", pod.name, file), "utf8").split("\n");
  let offset = 0;
  const records: string[] = [];
  for (const line of lines.slice(0, -1)) {
    const [, time, request_id, message] = /^(\S+) (\S+) (.*)$/s.exec(line) ?? [];
    const record = { file: log, message, ...name, node: "n", offset, request_id, time, uid: pod.uid };
    if (offset >= from) records.push(`${JSON.stringify(record)}\n`);
    offset += Buffer.byteLength(line) + 1;
  }
  return records;
}

/** An agent's exporter: appends to one file, rotates it by its size, keeps so many. */
export class Store {
  readonly directory: string;
  readonly #size: number;
  readonly #backups: number;
  #rotations = 0;

  constructor(directory: string, { size = Number.POSITIVE_INFINITY, backups = 15 } = {}) {
    this.directory = directory;
    this.#size = size;
    this.#backups = backups;
  }

  get active(): string {
    return join(this.directory, "lines.jsonl");
  }

  append(records: string[]): void {
    for (const record of records) {
      if (existsSync(this.active) && statSync(this.active).size + Buffer.byteLength(record) > this.#size)
        this.rotate();
      appendFileSync(this.active, record);
    }
  }

  rotate(): void {
    const moment = new Date(Date.UTC(2026, 0, 1) + this.#rotations++ * 1000).toISOString().slice(0, -1);
    renameSync(this.active, join(this.directory, `lines-${moment.replaceAll(":", "-")}-size.jsonl`));
    const rotated = readdirSync(this.directory).filter((name) => name !== "lines.jsonl");
    for (const name of rotated.sort().slice(0, -this.#backups)) rmSync(join(this.directory, name));
  }

  /** As if everything had been dropped by age or number. */
  empty(): void {
    for (const name of readdirSync(this.directory)) rmSync(join(this.directory, name));
  }
}
