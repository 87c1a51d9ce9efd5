import { appendFileSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import { ask, type Row } from "../cli/search.ts";
import { Feeder } from "../src/feed.ts";
import { asTheyAre, longestBytes, SearchStore, shortenedCharacters } from "../src/search-store.ts";
import { Platform } from "./platform.ts";
import { Store } from "./stores.ts";
import { VictoriaLogs } from "./victoria-logs.ts";

let platform: Platform;
let store: Store;
let search: VictoriaLogs;
let complaints: string[];
const begin = Date.now() - 600_000;

beforeEach(async () => {
  platform = new Platform();
  store = new Store(await platform.startStore("store-1"), { size: 200_000, backups: 15 });
  search = new VictoriaLogs(platform.path("search"));
  await search.start();
  complaints = [];
}, 300_000);
afterEach(async () => {
  await search.kill();
  await platform.stop();
});

const time = (number: number): string => new Date(begin + number).toISOString();
const record = (number: number, message = `message ${number}`): string =>
  `${JSON.stringify({ file: "u/app.log", message, namespace: "logging", node: "n", offset: number * 100, pod: "app-1", request_id: `id-${number}`, time: time(number), uid: "u" })}\n`;
const records = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, i) => record(from + i));
const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

function feeder(): Feeder {
  const { port = 0 } = platform.stores[0] ?? {};
  const source = { pod: "store-1", uid: "s", node: "n", url: `http://127.0.0.1:${port}`, serving: true };
  return new Feeder(
    async () => [source],
    new SearchStore(search.url),
    platform.path("state"),
    (reason) => complaints.push(reason),
  );
}

/** Rounds until nothing is left, at a given moment. */
async function drain(one: Feeder, now = Date.now()): Promise<void> {
  while (!(await one.round(now)));
}

/** Every row that the search store has, each as often as it has it. */
async function rows(query = "*"): Promise<Row[]> {
  await fetch(`${search.url}/internal/force_flush`);
  const body = new URLSearchParams({ query: `${query} | fields *`, start: time(-1e6) });
  const answer = await fetch(`${search.url}/select/logsql/query`, { method: "POST", body });
  const text = await answer.text();
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Row);
}
const found = async (): Promise<number[]> =>
  (await rows()).map(({ offset }) => Number(offset) / 100).sort((a, b) => a - b);

test("every line is handed on once, over rotations and a new start of the feeder", async () => {
  const first = feeder();
  store.append(records(0, 2000));
  await drain(first);
  store.append(records(2000, 2500));
  await drain(first);
  // Killed: the next one begins with what was written down.
  store.append(records(2500, 3000));
  await drain(feeder());
  expect(await found()).toEqual(numbers(0, 3000));
  expect(complaints).toEqual([]);
});

test("without its state it looks for what is there, and hands on what is missing", slow, async () => {
  store.append(records(0, 1500));
  await drain(feeder());
  rmSync(platform.path("state"), { recursive: true });
  store.append(records(1500, 1600));
  await drain(feeder());
  expect(await found()).toEqual(numbers(0, 1600));
});

test("two lines that are alike at two places are two lines, also where they are looked for", async () => {
  const twin = record(1).replace('"offset":100', '"offset":200');
  store.append([record(1), twin]);
  await drain(feeder());
  rmSync(platform.path("state"), { recursive: true });
  await drain(feeder());
  expect((await rows()).length).toBe(2);
});

test("what a kill of the search store lost is handed on again, and nothing twice", slow, async () => {
  const one = feeder();
  store.append(records(0, 1000));
  await drain(one);
  await search.kill();
  rmSync(platform.path("search"), { recursive: true });
  // It says in whole seconds when it started.
  await sleep(1100);
  await search.start();
  store.append(records(1000, 1100));
  // The next look at which process it is.
  await drain(one, Date.now() + 6000);
  expect(await found()).toEqual(numbers(0, 1100));
  await search.kill();
  await sleep(1100);
  await search.start();
  await drain(one, Date.now() + 12_000);
  expect(await found()).toEqual(numbers(0, 1100));
});

test(
  "while the search store is away lines wait in their store, and are handed on when it is back",
  slow,
  async () => {
    const one = feeder();
    store.append(records(0, 10));
    await drain(one);
    await search.kill();
    store.append(records(10, 20));
    await one.round();
    await one.round();
    expect(complaints).toHaveLength(1);
    expect(complaints[0]).toContain("does not answer");
    await search.start();
    await drain(one);
    expect(await found()).toEqual(numbers(0, 20));
    expect(complaints.at(-1)).toBe("all stores are handed on again");
  },
);

test("lines of other kinds: half ones, ones without a time, empty, too long, and with any character", async () => {
  const strange = 'ü \\u2028 \u2028 \\x1b[31m " \\\\ {"file":"x"} "time":"1"';
  const long = "é".repeat(longestBytes);
  const text = JSON.stringify({
    file: "u/app.log",
    message: "no line",
    offset: 5,
    time: null,
    request_id: null,
    uid: "u",
    pod: "app-1",
  });
  store.append([record(1, strange)]);
  appendFileSync(store.active, record(7).slice(0, 40));
  store.append([record(2), `${text}\n`, record(3, ""), record(4, long), record(5)]);
  const one = feeder();
  await drain(one);
  rmSync(platform.path("state"), { recursive: true });
  await drain(feeder());
  const all = await rows();
  const at = (id: string): Row[] => all.filter(({ request_id }) => request_id === id);
  expect(at("id-1").map(({ _msg }) => _msg)).toEqual([strange]);
  expect(at("id-2")).toHaveLength(1);
  expect(at("id-3")).toHaveLength(1);
  expect(at("id-4").map(({ _msg }) => _msg)).toEqual(["é".repeat(shortenedCharacters)]);
  expect(at("id-4")).toMatchObject([{ shortened_from_bytes: String(2 * longestBytes) }]);
  expect(all.filter(({ _msg }) => _msg === "no line").map(({ _time }) => Date.parse(_time ?? ""))).toEqual([
    begin + 2,
  ]);
  expect(all).toHaveLength(6);
  const figures = await one.registry.metrics();
  expect(figures).toContain('log_search_shortened_lines_total{node="n"} 1');
  expect(figures).toContain('log_search_torn_lines_total{node="n"} 1');
  expect(figures).toContain('log_search_unread_bytes{node="n"} 0');
});

test("a question is answered in order, each line once, the newest where there are too many", async () => {
  store.append(records(0, 500));
  await drain(feeder());
  // As another way of handing on would have repeated them.
  await new SearchStore(search.url).insert(
    records(100, 300).map((json) => ({ time: "", json: json.trim() })),
  );
  expect(await rows()).toHaveLength(700);
  const from = new Date(begin - 1000);
  const all = await ask(search.url, { query: "*", from, limit: 1000 });
  expect(all.rows.map(({ request_id }) => request_id)).toEqual(numbers(0, 500).map((n) => `id-${n}`));
  expect(all.cut).toBe(false);
  const some = await ask(search.url, { query: "message", from, limit: 350 });
  expect(some.rows.map(({ request_id }) => request_id)).toEqual(numbers(150, 500).map((n) => `id-${n}`));
  expect(some.cut).toBe(true);
  const other = await ask(search.url, { query: "*", pod: "app-2", from, limit: 10 });
  expect(other.rows).toEqual([]);
  await expect(ask(search.url, { query: "(", from, limit: 1 })).rejects.toThrow("does not understand");
});

test("lines go as they are only where nothing of them is to be changed", () => {
  const bytes = (...texts: string[]): Buffer => Buffer.from(texts.join(""));
  const fine = record(1, 'ü "time":"x" {"file":"y"} }');
  expect(asTheyAre(bytes(fine, record(2)))).toBe(true);
  for (const other of [
    record(3).slice(0, 40) + record(4),
    record(5).replace(/"time":"[^"]*"/, '"time":null'),
    record(6).slice(0, -2),
    `${record(7).slice(0, -3)}\n`,
    "\n",
    record(8).replace("{", "["),
    record(9, "x".repeat(longestBytes)),
  ])
    for (const lines of [bytes(other), bytes(fine, other), bytes(other, fine)])
      expect(asTheyAre(lines), other.slice(0, 80)).toBe(false);
});
