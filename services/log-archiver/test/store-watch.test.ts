import { afterEach, beforeEach, expect, test } from "vitest";
import { metricsOf } from "../src/metrics.ts";
import { fetchStore } from "../src/node-store.ts";
import { StoreWatch } from "../src/store-watch.ts";
import { Platform } from "./platform.ts";
import { Store } from "./stores.ts";

let platform: Platform;
beforeEach(() => {
  platform = new Platform();
});
afterEach(() => platform.stop());

const kilobyte = `${"x".repeat(999)}\n`;

test("says how much no archive has, and when the store will drop it at the rate of the last ten minutes", async () => {
  const store = new Store(await platform.startStore("store-1"), { size: 10_000, backups: 4 });
  const { port = 0 } = platform.stores[0] ?? {};
  const url = `http://127.0.0.1:${port}`;
  const source = { pod: "store-1", uid: "u", node: "node1", url, serving: true };
  const watch = new StoreWatch(async () => [source], 50_000);
  const write = (kilobytes: number): void => store.append(Array.from({ length: kilobytes }, () => kilobyte));

  write(5);
  await watch.look(0);
  expect(watch.figures({})).toEqual([{ node: "node1", bytes: 5000, secondsLeft: Number.POSITIVE_INFINITY }]);
  const { cursor } = await fetchStore(url, undefined, platform.path("read"), 1e9);
  // 20 kB in 100 s, over two rotations, of which all is unread.
  write(20);
  await watch.look(100_000);
  expect(watch.figures({ node1: cursor })).toEqual([{ node: "node1", bytes: 20_000, secondsLeft: 150 }]);
  expect(watch.figures({ other: cursor })).toEqual([{ node: "node1", bytes: 25_000, secondsLeft: 125 }]);
  write(1);
  await watch.look(200_000);
  expect(watch.figures({ node1: cursor })[0]?.secondsLeft).toBeCloseTo(29_000 / 105, 5);
  // What was written eleven minutes ago is no rate any more.
  await watch.look(860_000);
  expect(watch.figures({ node1: cursor })[0]?.secondsLeft).toBe(Number.POSITIVE_INFINITY);
  write(100);
  await watch.look(861_000);
  expect(watch.figures({ node1: cursor })[0]?.secondsLeft).toBeLessThan(10);
  const { text } = await metricsOf(platform.archives, watch);
  expect(text).toMatch(/^log_store_unarchived_bytes\{node="node1"\} \d+$/m);
  expect(text).toMatch(/^log_store_seconds_until_dropped\{node="node1"\} [\d.]+$/m);
  expect(text).toMatch(/^log_stores_unreadable 0$/m);
});

test("counts stores that serve and do not answer, and forgets nodes that have gone", async () => {
  const store = new Store(await platform.startStore("store-1"));
  store.append([kilobyte]);
  const refusing = await platform.listen((_req, res) => void res.writeHead(500).end());
  const of = (node: string, port: number | undefined, serving = true) => ({
    ...{ pod: node, uid: node, node, serving },
    url: `http://127.0.0.1:${port}`,
  });
  const good = of("a", platform.stores[0]?.port);
  let sources = [good, of("b", refusing), of("starting", refusing, false)];
  const watch = new StoreWatch(async () => sources, 1e6);
  await watch.look();
  expect([watch.unreadable, watch.figures({}).map(({ node }) => node)]).toEqual([1, ["a"]]);
  sources = [];
  await watch.look();
  expect([watch.unreadable, watch.figures({})]).toEqual([0, []]);
  const silent = new StoreWatch(() => Promise.reject(new Error("no API server")), 1e6);
  const complaints: string[] = [];
  silent.start((reason) => complaints.push(reason));
  await expect.poll(() => complaints).toEqual(["no API server"]);
  silent.stop();
});
