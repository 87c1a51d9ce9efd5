/** Many runs: each line is archived once, none is lost, whatever is killed, dropped or goes between them. */

import { randomBytes } from "node:crypto";
import { appendFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { amount, slow } from "../../../lib/test/long.ts";
import { manifestName } from "../src/manifest.ts";
import { age, archived, idsOf, manifestsOf, newestOf, removePod } from "./archives.ts";
import { Platform, type Pod, post } from "./platform.ts";
import { collect, Store } from "./stores.ts";

let platform: Platform;
beforeEach(async () => {
  platform = new Platform();
  await platform.start();
});
afterEach(() => platform.stop());

const manifests = () => manifestsOf(platform);
const newest = () => newestOf(platform);
const archive = (...args: string[]) => archived(platform, ...args);

test("fourteen runs, the store emptied after each: every line is restored, once", slow, async () => {
  const pod = await platform.startPod("app-a");
  const store = new Store(await platform.startStore("store-1"));
  const sent: string[] = [];
  let collected = 0;
  for (let run = 0; run < 14; run++) {
    for (let i = 0; i < 10; i++) {
      sent.push(`id-${run}-${i}`);
      await post(pod, `message ${i} of run ${run}`, `id-${run}-${i}`);
    }
    const records = collect(platform, pod);
    store.append(records.slice(collected));
    collected = records.length;
    await archive();
    expect(newest().lines).toBe(10);
    store.empty();
  }
  expect(idsOf(await platform.restored("--from", "all"))).toEqual(sent);
});

test("pods that come and go, stores that turn over and runs killed at random moments lose nothing", {
  ...slow,
  timeout: 600_000,
}, async () => {
  const kills = Number(process.env.KILLS ?? amount(5, 50));
  const stores = [1, 2].map(
    async (n) => new Store(await platform.startStore(`store-${n}`), { size: 20_000, backups: 2 }),
  );
  const nodes = await Promise.all(stores);
  const sent: string[] = [];
  let made = 0;
  const alive: { pod: Pod; node: Store; collected: number }[] = [];
  const start = async (): Promise<void> => {
    const pod = await platform.startPod(`app-${made}`, { MAX_FILE_BYTES: "100000" });
    alive.push({ pod, node: nodes[made++ % 2] as Store, collected: 0 });
  };
  await start();
  await start();
  // What the agent has not yet collected is in the pod only.
  const collectAll = (): void => {
    for (const one of alive) {
      const records = collect(platform, one.pod);
      one.node.append(records.slice(one.collected));
      one.collected = records.length;
    }
  };
  // How long a run takes here, so that kills fall everywhere.
  const began = Date.now();
  await archive();
  const took = Date.now() - began;
  // A run may be faster than the measured one: then the next is killed sooner.
  let pace = 1;
  let killed = 0;
  for (let round = 0; killed < kills && round < kills * 3; round++) {
    for (let i = 0; i < 6; i++) {
      const { pod } = alive[i % alive.length] as { pod: Pod };
      sent.push(`id-${round}-${i}`);
      await post(pod, `${round} ${"x".repeat(100)}`, `id-${round}-${i}`);
    }
    if (round % 3 !== 2) collectAll();
    const run = platform.run("archive");
    const timer = setTimeout(() => run.kill("SIGKILL"), Math.random() * took * 1.1 * pace);
    if ((await run).signal === "SIGKILL") killed++;
    else pace *= 0.8;
    clearTimeout(timer);
    if (round % 7 === 6) {
      collectAll();
      const [old] = alive.splice(0, 1);
      if (old) removePod(platform, old.pod);
      await start();
    }
    // Before the store drops what no archive has; the next test is about that.
    if (round % 10 === 9) await archive();
  }
  expect(killed).toBe(kills);
  collectAll();
  await archive();
  const restored = idsOf(await platform.restored());
  expect(restored.toSorted()).toEqual(sent.toSorted());
  expect(manifests().flatMap(({ sources }) => sources.filter(({ droppedBytes }) => droppedBytes))).toEqual(
    [],
  );
});

describe("bytes that were dropped before an archive had them", () => {
  const settings = { MAX_FILE_BYTES: "1024", KEPT_FILES: "1" };
  const dropped = (): (number | undefined)[] => newest().sources.map(({ droppedBytes }) => droppedBytes);

  test("are counted, of a pod exactly", slow, async () => {
    const pod = await platform.startPod("app-a", settings);
    await platform.startStore("store-1");
    await post(pod, "first", "id-0");
    await archive();
    for (let i = 1; i <= 12; i++) await post(pod, "x".repeat(300), `id-${i}`);
    const { stdout } = await platform.run("archive");
    const got = idsOf(await platform.restored());
    const missing = 13 - got.length;
    expect(missing).toBeGreaterThan(3);
    expect(stdout).toMatch(/pod app-a: DROPPED \d+ bytes before they were archived/);
    const [bytes = 0] = dropped();
    const size = `2026-01-01T00:00:00.000Z id-1 ${"x".repeat(300)}\n`.length;
    // Ids have one digit or two.
    expect(bytes).toBeGreaterThanOrEqual(missing * size);
    expect(bytes).toBeLessThanOrEqual(missing * (size + 1));
    await archive();
    expect(dropped()).toEqual([undefined, undefined]);
    // The sum stays, also when the archives that count it have gone.
    expect(newest().cursors?.dropped).toEqual({ pod: bytes, "node-store": 0 });
  });

  test("are none where the node's store has them", slow, async () => {
    const pod = await platform.startPod("app-a", settings);
    const store = new Store(await platform.startStore("store-1"));
    let collected = 0;
    for (let i = 0; i < 12; i++) {
      await post(pod, "x".repeat(300), `id-${i}`);
      // Rotated files' lines were collected before.
      const records = collect(platform, pod);
      if (records.length <= collected) collected = 0;
      store.append(records.slice(collected));
      collected = records.length;
      await sleep(2);
      if (i === 2) await archive();
    }
    await archive();
    expect(idsOf(await platform.restored())).toEqual(Array.from({ length: 12 }, (_, i) => `id-${i}`));
    expect(dropped()).toEqual([undefined, undefined]);
  });

  test("are said of a store that turned over, at least so many", slow, async () => {
    const pod = await platform.startPod("app-a");
    const store = new Store(await platform.startStore("store-1"), { size: 1000, backups: 2 });
    await post(pod, "first", "id-0");
    store.append(collect(platform, pod));
    await archive();
    for (let i = 1; i <= 20; i++) await post(pod, "x".repeat(200), `id-${i}`);
    store.append(collect(platform, pod).slice(1));
    removePod(platform, pod);
    await platform.run("archive");
    const [bytes = 0] = newest().sources.flatMap(({ kind, droppedBytes }) =>
      kind === "node-store" ? (droppedBytes ?? 0) : [],
    );
    expect(bytes).toBeGreaterThan(0);
    expect((await platform.restored()).length).toBeLessThan(21);
  });
});

test("a log that was removed or is another one is read whole", slow, async () => {
  const pod = await platform.startPod("app-a");
  await platform.startStore("store-1");
  for (let i = 0; i < 5; i++) await post(pod, `before ${i}`, `old-${i}`);
  await archive();
  rmSync(join(platform.directory, "pods/app-a/app.log"));
  for (let i = 0; i < 9; i++) await post(pod, `after ${i}`, `new-${i}`);
  await archive();
  expect(newest().lines).toBe(9);
  expect(idsOf(await platform.restored())).toHaveLength(14);
});

test("more than one archive takes goes into several of the same run", slow, async () => {
  const pod = await platform.startPod("app-a");
  const store = new Store(await platform.startStore("store-1"), { size: 300_000 });
  for (let i = 0; i < 90; i++) await post(pod, "x".repeat(30_000), `id-${i}`);
  store.append(collect(platform, pod));
  await archive("--largest", "1");
  expect(manifests().length).toBeGreaterThan(3);
  expect(idsOf(await platform.restored())).toEqual(Array.from({ length: 90 }, (_, i) => `id-${i}`));
  const sizes = manifests().map(({ sources }) => sources.reduce((sum, { bytes }) => sum + bytes, 0));
  expect(Math.max(...sizes)).toBeLessThanOrEqual(1024 * 1024);
  await archive("--largest", "1");
  expect(newest().lines).toBe(0);
});

describe("archives of closed days", () => {
  async function severalDays(): Promise<string[]> {
    const pod = await platform.startPod("app-a");
    const store = new Store(await platform.startStore("store-1"));
    const sent: string[] = [];
    for (let run = 0; run < 3; run++) {
      for (let i = 0; i < 5; i++) {
        sent.push(`id-${run}-${i}`);
        await post(pod, `message ${i}`, `id-${run}-${i}`);
      }
      // Of lines that were read of the pod before, the node has its own: archived again, restored once.
      store.append(collect(platform, pod).slice(run * 5));
      await archive();
    }
    await age(platform, 1);
    return sent;
  }

  test("become one, with the same lines", async () => {
    const sent = await severalDays();
    const before = await platform.restored();
    expect(await archive()).toMatch(
      /app-logs-\d{8}\.1\.tar\.gz: stands for 3 archives of \d{4}-\d\d-\d\d, verified/,
    );
    const days = manifests().filter(({ replaces }) => replaces);
    expect(days).toHaveLength(1);
    expect(days[0]?.replaces).toHaveLength(3);
    expect(platform.stored()).toHaveLength(4);
    const after = await platform.restored();
    expect(idsOf(after)).toEqual(sent);
    expect(after).toEqual(before);
    await archive();
    expect(platform.stored()).toHaveLength(6);
    expect(idsOf(await platform.restored())).toEqual(sent);
  });

  test("are whole after a kill at any moment, and the next run ends what was begun", slow, async () => {
    const sent = await severalDays();
    const saved = platform.path("saved");
    await execa("sh", ["-c", 'cp "$1"/* "$2"', "sh", platform.archives, saved]);
    const began = Date.now();
    await archive();
    const took = Date.now() - began;
    const kills = amount(2, 8);
    for (let kill = 0; kill < kills; kill++) {
      await execa("sh", ["-c", 'rm -f "$1"/*; cp "$2"/* "$1"', "sh", platform.archives, saved]);
      const run = platform.run("archive");
      setTimeout(() => run.kill("SIGKILL"), took * (0.55 + (kill * 0.48) / kills));
      await run;
      expect(idsOf(await platform.restored())).toEqual(sent);
      await archive();
      expect(idsOf(await platform.restored())).toEqual(sent);
      expect(manifests().filter(({ replaces }) => replaces)).toHaveLength(1);
    }
  });

  test("stay as they are where one is damaged, and the others become one", slow, async () => {
    const sent = await severalDays();
    const [first = ""] = platform.stored().filter((name) => name.endsWith(".tar.gz"));
    appendFileSync(join(platform.archives, first), "x");
    expect(await archive()).toMatch(/is damaged: .*; it stays as it is/);
    expect(manifests().find(({ replaces }) => replaces)?.replaces).toHaveLength(2);
    const refused = await platform.run("restore");
    expect([refused.exitCode, refused.stdout]).toEqual([1, ""]);
    const rest = await platform.run("restore", "--skip-damaged");
    expect(rest.exitCode).toBe(3);
    expect(rest.stderr).toContain(`left out: ${join(platform.archives, first)} is damaged`);
    expect(idsOf(rest.stdout.split("\n"))).toEqual(sent.slice(5));
  });

  test("go when all their lines are older than KEEP_DAYS, and not a day before", slow, async () => {
    await severalDays();
    await age(platform, 28);
    await archive();
    expect(idsOf(await platform.restored())).toHaveLength(15);
    await age(platform, 2);
    expect(await archive()).toContain("removed, all its lines are older than 30 days");
    expect(await platform.restored()).toEqual([]);
  });
});

test.skipIf(process.getuid?.() !== 0)(
  "a full volume has room again by what is too old, and not before",
  slow,
  async () => {
    await execa("mount", ["-t", "tmpfs", "-o", "size=600k", "tmpfs", platform.archives]);
    try {
      const pod = await platform.startPod("app-a");
      await platform.startStore("store-1");
      const incompressible = (): string => randomBytes(20_000).toString("base64");
      for (let i = 0; i < 10; i++) await post(pod, incompressible(), `old-${i}`);
      await archive();
      await archive();
      const fill = (): Promise<unknown> =>
        execa("sh", ["-c", `cat /dev/zero > "$1"/filler`, "sh", platform.archives], { reject: false });
      await fill();
      for (let i = 0; i < 3; i++) await post(pod, incompressible(), `new-${i}`);
      const { exitCode, stderr } = await platform.run("archive");
      expect([exitCode, stderr]).toEqual([1, expect.stringContaining("ENOSPC")]);
      expect(idsOf(await platform.restored())).toHaveLength(10);
      rmSync(join(platform.archives, "filler"));
      await age(platform, 31);
      // The last run was a month ago: whether the clock is ahead is known by the next one.
      expect(await archive()).not.toContain("removed");
      await fill();
      for (let i = 3; i < 6; i++) await post(pod, incompressible(), `new-${i}`);
      expect(await archive()).toContain("removed, all its lines are older than 30 days");
      expect(idsOf(await platform.restored())).toEqual(Array.from({ length: 6 }, (_, i) => `new-${i}`));
    } finally {
      await execa("umount", [platform.archives]);
    }
  },
);

test("two runs at once archive each line once, one after the other", slow, async () => {
  const pod = await platform.startPod("app-a");
  await platform.startStore("store-1");
  for (let i = 0; i < 5; i++) await post(pod, `message ${i}`, `id-${i}`);
  await Promise.all(Array.from({ length: 4 }, () => archive()));
  expect(manifests().map(({ lines, sequence }) => [lines, sequence])).toEqual([
    [5, 1],
    [0, 2],
    [0, 3],
    [0, 4],
  ]);
  expect(idsOf(await platform.restored())).toHaveLength(5);
  const holder = execa("flock", ["--no-fork", join(platform.archives, ".lock"), "sleep", "60"]);
  holder.catch(() => undefined);
  await sleep(300);
  const { exitCode, stderr } = await platform.run("archive", "--lock", "1");
  expect([exitCode, stderr]).toEqual([1, expect.stringContaining("another run has held")]);
  holder.kill();
});

test("archives of version 1 are restored beside the new ones", slow, async () => {
  const pod = await platform.startPod("app-a");
  await platform.startStore("store-1");
  for (let i = 0; i < 3; i++) await post(pod, `message ${i}`, `id-${i}`);
  await archive();
  for (const manifest of manifests()) {
    const { sequence, cursors, ...rest } = manifest;
    const old = { ...rest, version: 1, repeatsDropped: 0 };
    writeFileSync(join(platform.archives, manifestName(manifest.archive)), JSON.stringify(old));
  }
  await post(pod, "message 3", "id-3");
  await archive();
  // Nothing says how far it was read: whole once more.
  expect(newest().lines).toBe(4);
  expect(idsOf(await platform.restored())).toEqual(["id-0", "id-1", "id-2", "id-3"]);
  await age(platform, 1);
  await archive();
  expect(idsOf(await platform.restored())).toEqual(["id-0", "id-1", "id-2", "id-3"]);
  await age(platform, 40);
  await archive();
  await archive();
  expect(await platform.restored()).toEqual([]);
});

describe("what others wrote into a log", () => {
  test("is a file's name nowhere, and a sort's field nowhere", slow, async () => {
    const pod = await platform.startPod("app-a");
    await platform.startStore("store-1");
    await post(pod, "before", "id-0");
    const time = new Date().toISOString();
    const odd = [
      `${time} a\t../../../outside\tb\tc\td message`,
      "../../etc/passwd\t\t\t",
      `${time} id-1\t\t x`,
      `${time}  no id`,
      "\t\t\t\t\t",
      `${time} id-2 \u0007bell`,
    ];
    appendFileSync(join(platform.directory, "pods/app-a/app.log"), `${odd.join("\n")}\n`);
    await post(pod, "after", "id-3");
    await archive();
    expect(readdirSync(join(platform.directory, "app/logs"))).toEqual(["app-a.log"]);
    expect(readdirSync(platform.directory)).not.toContain("outside.log");
    const printed = await platform.restored();
    for (const line of odd) expect(printed).toContain(line.replace("\u0007", "\\x07"));
    expect(printed).toHaveLength(8);
  });

  test("is printed without what a terminal would obey", async () => {
    const pod = await platform.startPod("app-a");
    await platform.startStore("store-1");
    await post(pod, "hello", "id-0");
    const time = new Date().toISOString();
    const log = join(platform.directory, "pods/app-a/app.log");
    appendFileSync(log, `${time} id-1 a\u001b[31mred\u0000nul\u009b31m\u007f\ttab é 日本 \u0085\n`);
    await post(pod, "after", "id-2");
    await archive();
    const { stdout } = await platform.run("restore", "--grep", "é 日本");
    expect(stdout.replace(/^\S+ /, "")).toBe("id-1 a\\x1b[31mred\\x00nul\\x9b31m\\x7f\ttab é 日本 \\x85");
  });
});
