import { appendFileSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fetchStore, filesOf, type StoreCursor, storedLinesOf, unreadIn } from "../src/node-store.ts";
import { Platform } from "./platform.ts";
import { Store } from "./stores.ts";

let platform: Platform;
let store: Store;
let url: string;
let round = 0;
const rules = { size: 2000, backups: 4 };
beforeEach(async () => {
  platform = new Platform();
  store = new Store(await platform.startStore("store-1"), rules);
  url = `http://127.0.0.1:${platform.stores[0]?.port}`;
});
afterEach(() => platform.stop());

const record = (number: number): string =>
  `${JSON.stringify({ file: "u/app.log", message: `m ${number} ${"x".repeat(number % 50)}`, namespace: "l", pod: "p", offset: number * 100, request_id: `id-${number}`, time: "2026-01-01T00:00:00.000Z", uid: "u" })}\n`;
const records = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, i) => record(from + i));
const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

/** Reads what is new, as numbers. */
async function read(cursor?: StoreCursor, limit = 1e9) {
  const { parts, ...rest } = await fetchStore(url, cursor, platform.path(`read-${round++}`), limit);
  const found: number[] = [];
  for (const part of parts)
    for await (const lines of storedLinesOf(part, () => undefined))
      found.push(...lines.map(({ offset }) => offset / 100));
  return { found, ...rest };
}

describe("a store is read from where the last run left off", () => {
  test("with nothing new, with more in the same file, and with nothing at all", async () => {
    const empty = await read();
    expect(empty).toMatchObject({ found: [], dropped: 0, more: false });
    store.append(records(0, 3));
    const first = await read(empty.cursor);
    expect(first).toMatchObject({ found: [0, 1, 2], dropped: 0 });
    expect(await read(first.cursor)).toMatchObject({ found: [], bytes: 0, dropped: 0 });
    store.append(records(3, 5));
    const second = await read(first.cursor);
    expect(second.found).toEqual([3, 4]);
    expect(unreadIn(await filesOf(url), first.cursor)).toBe(second.bytes);
    expect(unreadIn(await filesOf(url), second.cursor)).toBe(0);
  });

  test("over any number of rotations between two runs, up to what the store keeps", async () => {
    let next = 0;
    let cursor: StoreCursor | undefined;
    for (const count of [1, 30, 5, 0, 7, 12, 40, 2, 11, 25, 1, 1, 33]) {
      store.append(records(next, next + count));
      const unread = unreadIn(await filesOf(url), cursor);
      const result = await read(cursor);
      expect(result).toMatchObject({ found: numbers(next, next + count), dropped: 0, bytes: unread });
      next += count;
      cursor = result.cursor;
    }
  });

  test("a line that is half written waits for its other half", async () => {
    store.append(records(0, 2));
    appendFileSync(store.active, record(2).slice(0, 30));
    const first = await read();
    expect(first.found).toEqual([0, 1]);
    appendFileSync(store.active, record(2).slice(30));
    expect((await read(first.cursor)).found).toEqual([2]);
  });

  test("in parts, where there is more than one archive takes", async () => {
    store.append(records(0, 40));
    let cursor: StoreCursor | undefined;
    const found: number[] = [];
    let rounds = 0;
    for (let more = true; more; rounds++) {
      const part = await read(cursor, 1500);
      found.push(...part.found);
      expect(part.bytes).toBeLessThanOrEqual(1500);
      expect(part.dropped).toBe(0);
      ({ cursor, more } = part);
      // Lines come meanwhile, and files go on being rotated.
      if (rounds === 1) store.append(records(40, 45));
    }
    expect(rounds).toBeGreaterThan(4);
    expect(found).toEqual(numbers(0, 45));
  });

  test("where a file is rotated between the listing and its reading", async () => {
    store.append(records(0, 5));
    const { cursor } = await read();
    store.append(records(5, 8));
    let rotated = false;
    const { port } = platform.stores[0] ?? { port: 0 };
    // Ahead of the store: rotates when the active file is asked for.
    const front = await platform.listen(async (req, res) => {
      if (req.url === "/lines.jsonl" && !rotated) {
        rotated = true;
        store.rotate();
        store.append(records(8, 10));
      }
      const answer = await fetch(`http://127.0.0.1:${port}${req.url}`, {
        headers: req.headers.range ? { range: req.headers.range } : {},
      });
      res
        .writeHead(answer.status, Object.fromEntries(answer.headers))
        .end(Buffer.from(await answer.arrayBuffer()));
    });
    url = `http://127.0.0.1:${front}`;
    const result = await read(cursor);
    expect(rotated).toBe(true);
    expect(result.found.toSorted((a, b) => a - b)).toEqual(numbers(5, 10));
    expect(result.dropped).toBe(0);
    expect((await read(result.cursor)).found).toEqual([]);
  });
});

describe("what a store dropped unread is said", () => {
  test("of the file that was being written, at least its rest", async () => {
    store.append(records(0, 5));
    const { cursor } = await read();
    store.append(records(5, 200));
    const result = await read(cursor);
    expect(result.found.at(-1)).toBe(199);
    expect(result.found[0]).toBeGreaterThan(5);
    const missing = records(5, result.found[0] ?? 0).join("").length;
    expect(result.dropped).toBeGreaterThan(0);
    expect(result.dropped).toBeLessThanOrEqual(missing);
    expect(await read(result.cursor)).toMatchObject({ found: [], dropped: 0 });
  });

  test("of files that were read in part, exactly", async () => {
    store.append(records(0, 40));
    const files = await filesOf(url);
    const { cursor } = await read(undefined, 1000);
    const [oldest] = files;
    const read1 = cursor.files[oldest?.name ?? ""]?.read ?? 0;
    expect(read1).toBeGreaterThan(0);
    store.rotate();
    const left = new Set((await filesOf(url)).map(({ name }) => name));
    if (left.has(oldest?.name ?? "")) {
      store.append(["x\n"]);
      store.rotate();
    }
    const result = await read(cursor);
    expect(result.dropped).toBe((oldest?.size ?? 0) - read1);
  });

  test("and nothing of one that begins anew, or of one read to its end", async () => {
    store.append(records(0, 60));
    const { cursor } = await read();
    store.append(records(60, 62));
    const next = await read(cursor);
    expect(next).toMatchObject({ found: [60, 61], dropped: 0 });
    store.empty();
    store.append(records(0, 3));
    const anew = await read(next.cursor);
    expect(anew.found).toEqual([0, 1, 2]);
    // Which cannot be told from one that turned over within its first file.
    expect(anew.dropped).toBe(1);
  });
});

test("bytes that are no UTF-8, escapes, and halves of a killed agent's lines come out as they were logged", async () => {
  const line = { file: "f", pod: "p", namespace: "n", offset: 0, uid: "u", time: "2026-01-01T00:00:00.000Z" };
  const message = 'tab\t \u2028 \u0085 "quoted" \\n é 日本';
  writeFileSync(
    store.active,
    Buffer.concat([
      Buffer.from(`${JSON.stringify({ ...line, request_id: "ü", message })}\n`),
      // As Go writes it.
      Buffer.from(
        `${JSON.stringify({ ...line, request_id: "ü", message }).replaceAll("\u2028", "\\u2028")}\n`,
      ),
      Buffer.from(`${JSON.stringify({ ...line, request_id: "x" }).slice(0, 20)}`),
      Buffer.from(`${JSON.stringify({ ...line, request_id: "z", message: "after a half" })}\n`),
      Buffer.from(`{"file":"f","pod":"p","offset":0,"uid":"u","time":null,"request_id":null,"message":"`),
      Buffer.from([0xff, 0xfe]),
      Buffer.from('"}\n{"file":"f","offset":"0","uid":"u","message":"no number"}\n[]\n'),
    ]),
  );
  const { parts } = await fetchStore(url, undefined, platform.path("odd"), 1e9);
  const messages: Buffer[] = [];
  let torn = 0;
  for (const part of parts)
    for await (const lines of storedLinesOf(part, () => torn++))
      messages.push(...lines.map((stored) => Buffer.from(stored.message, "latin1")));
  const texts = messages.map((bytes) => bytes.toString());
  expect(texts.slice(0, 3)).toEqual([message, message, "after a half"]);
  expect(messages[3]).toEqual(Buffer.from([0xff, 0xfe]));
  expect(torn).toBe(3);
  renameSync(store.active, join(store.directory, "other.txt"));
  expect(await filesOf(url)).toEqual([]);
  expect(readFileSync(join(store.directory, "other.txt")).length).toBeGreaterThan(0);
});
