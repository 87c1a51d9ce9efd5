// @module-tag slow
import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ask } from "../cli/search.ts";
import { archived, removePod } from "./archives.ts";
import { Platform, post } from "./platform.ts";
import { collect, Store } from "./stores.ts";
import { VictoriaLogs } from "./victoria-logs.ts";

let platform: Platform;
let search: VictoriaLogs;
beforeEach(async () => {
  platform = new Platform();
  await platform.start();
  search = new VictoriaLogs(platform.path("search"));
  await search.start();
  platform.env = { SEARCH_URL: search.url };
}, 300_000);
afterEach(async () => {
  await search.kill();
  await platform.stop();
});

/** How many rows the search store has, and the ids of what a question gives, in its order. */
async function all(): Promise<{ rows: number; ids: (string | undefined)[]; pods: Set<string | undefined> }> {
  const from = new Date(Date.now() - 86_400_000);
  const body = new URLSearchParams({ query: "* | count() rows", start: from.toISOString() });
  const answer = await fetch(`${search.url}/select/logsql/query`, { method: "POST", body });
  const { rows } = (await answer.json()) as { rows: string };
  const found = await ask(search.url, { query: "*", from, limit: 100_000 });
  return {
    rows: Number(rows),
    ids: found.rows.map(({ request_id }) => request_id),
    pods: new Set(found.rows.map(({ pod }) => pod)),
  };
}

test("an empty search store is filled from archives and stores, each line once, however often", async () => {
  const store = new Store(await platform.startStore("store-1"));
  const pod = await platform.startPod("app-1");
  const ids: string[] = [];
  const say = async (message: string): Promise<void> => {
    ids.push(`id-${ids.length}`);
    await post(pod, message, ids.at(-1));
  };
  for (let i = 0; i < 50; i++) await say(`in an archive ${i} ü \u2028 \\ "`);
  store.append(collect(platform, pod));
  await archived(platform);
  // Dropped by the node, and the pod has gone.
  store.empty();
  await say("in both");
  store.append(collect(platform, pod).slice(50));
  await archived(platform);
  await say("in the node's store only");
  store.append(collect(platform, pod).slice(51));
  removePod(platform, pod);

  const first = await platform.run("restore", "--into", "search");
  expect([first.exitCode, first.stderr]).toEqual([0, ""]);
  expect(first.stdout).toMatch(/2 archives and the nodes' stores: 52 lines were missing, and are found now$/);
  expect(await all()).toEqual({ rows: 52, ids, pods: new Set(["app-1"]) });
  const second = await platform.run("restore", "--into", "search");
  expect(second.stdout).toMatch(/: 0 lines were missing, and are found now$/);
  expect(await all()).toEqual({ rows: 52, ids, pods: new Set(["app-1"]) });

  // Its disk is lost.
  await search.kill();
  rmSync(platform.path("search"), { recursive: true });
  await sleep(100);
  await search.start();
  await platform.run("restore", "--into", "search", "--since", "1h");
  expect(await all()).toEqual({ rows: 52, ids, pods: new Set(["app-1"]) });
});

test("what is in the way is said, and what is asked wrongly", async () => {
  await platform.startStore("store-1");
  const pod = await platform.startPod("app-1");
  await post(pod, "x", "id");
  await archived(platform);
  await search.kill();
  const away = await platform.run("restore", "--into", "search");
  expect([away.exitCode, away.stderr]).toEqual([1, expect.stringContaining("does not answer")]);
  expect((await platform.run("restore", "--into", "elsewhere")).exitCode).toBe(64);
  expect((await platform.run("restore", "--into", "search", "--from-dir", "x")).exitCode).toBe(64);
});
