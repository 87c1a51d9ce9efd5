import { appendFileSync, readdirSync, readFileSync, truncateSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import type { Manifest } from "../src/manifest.ts";
import { Platform, post } from "./platform.ts";
import { collect, Store } from "./stores.ts";

let platform: Platform;
beforeEach(async () => {
  platform = new Platform();
  await platform.start();
});
afterEach(() => platform.stop());

const manifest = (): Manifest => {
  const name = platform.stored().findLast((file) => file.endsWith(".json")) ?? "";
  return JSON.parse(readFileSync(join(platform.archives, name), "utf8")) as Manifest;
};

const ids = (lines: string[]): string[] => lines.map((line) => line.split(" ")[1] ?? "");

describe("a run", () => {
  test("archives every pod's bytes, shows the listing and restores each line once", async () => {
    const a = await platform.startPod("app-a");
    const b = await platform.startPod("app-b");
    await platform.startStore("store-1");
    for (let i = 0; i < 50; i++) await post(i % 3 === 0 ? a : b, `Zeile ${i} \u2028\t\r\n "x"  `, `id-${i}`);

    const { exitCode, stdout } = await platform.run("archive");
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^-rw.* \S*app\/logs\/app-a\.log$/m);
    for (const name of ["app-a", "app-b"]) {
      const archived = readFileSync(join(platform.directory, "app/logs", `${name}.log`));
      expect(archived.equals(readFileSync(join(platform.directory, "pods", name, "app.log"))), name).toBe(
        true,
      );
    }
    const [archive, described] = platform.stored().toReversed();
    expect(platform.stored()).toHaveLength(2);
    expect(archive).toMatch(/^app-logs-\d{8}T\d{6}\.\d{3}Z\.tar\.gz$/);
    expect(described).toBe(archive?.replace("tar.gz", "json"));
    expect(manifest()).toMatchObject({ version: 2, complete: true, lines: 50 });
    expect(ids(await platform.restored())).toEqual(Array.from({ length: 50 }, (_, i) => `id-${i}`));
  });

  test("takes the lines of pods that are gone, and of generations that were dropped, from the nodes' stores", async () => {
    const kept = await platform.startPod("app-kept", { MAX_FILE_BYTES: "1024", KEPT_FILES: "1" });
    const gone = await platform.startPod("app-gone");
    const store = await platform.startStore("store-1");
    for (let i = 0; i < 10; i++) await post(gone, `gone ${i}`, `gone-${i}`);
    const stored = join(store, "lines.jsonl");
    writeFileSync(stored, collect(platform, gone).join(""));
    for (let i = 0; i < 10; i++) {
      await post(kept, "x".repeat(900), `kept-${i}`);
      appendFileSync(stored, collect(platform, kept).join(""));
    }
    platform.pods.splice(platform.pods.indexOf(gone), 1);
    gone.process?.kill("SIGKILL");

    expect((await platform.run("archive")).exitCode).toBe(0);
    const names = [
      ...Array.from({ length: 10 }, (_, i) => `gone-${i}`),
      ...Array.from({ length: 10 }, (_, i) => `kept-${i}`),
    ];
    expect(ids(await platform.restored())).toEqual(names);
    const pods = Object.fromEntries(manifest().pods.map(({ pod, fromNodes }) => [pod, fromNodes]));
    expect(pods).toEqual({ "app-gone": 10, "app-kept": 8 });
  });

  test(
    "counts a line once that was collected again, and reads past what a killed agent half wrote",
    slow,
    async () => {
      const pod = await platform.startPod("app-a");
      for (let i = 0; i < 5; i++) await post(pod, `message ${i}`, `id-${i}`);
      // The same request sent twice on purpose, without a mark of a retry, is two lines.
      await post(pod, "message 4", "id-4");
      const records = collect(platform, pod);
      platform.pods.length = 0;
      const store = await platform.startStore("store-1");
      const half = records[3]?.slice(0, 40);
      writeFileSync(
        join(store, "lines-2026-01-01T00-00-00.000-size.jsonl"),
        `${records.slice(0, 3).join("")}${half}`,
      );
      writeFileSync(join(store, "lines.jsonl"), `\n${half}${records.slice(2).join("")}`);

      expect((await platform.run("archive")).exitCode).toBe(0);
      expect(ids(await platform.restored())).toEqual(["id-0", "id-1", "id-2", "id-3", "id-4", "id-4"]);
      expect(manifest()).toMatchObject({ lines: 6, tornRecords: 2 });
    },
  );

  test(
    "leaves out of a restore what a gateway's retry wrote on a second pod, and says so",
    slow,
    async () => {
      const a = await platform.startPod("app-a");
      const b = await platform.startPod("app-b");
      await platform.startStore("store-1");
      await post(a, "retried", "one");
      await post(b, "retried", "one");
      await post(b, "another message of the same request", "one");
      expect((await platform.run("archive")).exitCode).toBe(0);
      const once = ["one retried", "one another message of the same request"];
      const messages = async () => (await platform.restored()).map((line) => line.replace(/^\S+ /, ""));
      expect(await messages()).toEqual(once);
      expect((await platform.run("restore")).stderr).toContain(
        "2 lines printed, 1 repeats on other pods left out",
      );
      // The same where the retry is in a later archive.
      await post(a, "late", "two");
      await platform.run("archive");
      await post(b, "late", "two");
      await platform.run("archive");
      expect(manifest().lines).toBe(1);
      expect(await messages()).toEqual([...once, "two late"]);
      expect((await platform.run("restore")).stderr).toContain(
        "3 lines printed, 2 repeats on other pods left out",
      );
    },
  );

  test("keeps lines under the uid where no agent knew the pod any more", slow, async () => {
    const pod = await platform.startPod("app-a");
    await post(pod, "hello", "id");
    const store = await platform.startStore("store-1");
    writeFileSync(join(store, "lines.jsonl"), collect(platform, pod, { known: false }).join(""));
    platform.pods.length = 0;
    expect((await platform.run("archive")).exitCode).toBe(0);
    expect(manifest().pods.map(({ pod }) => pod)).toEqual(["unknown-uid-of-app-a"]);
  });

  test("archives the others and exits with 3 where a serving pod cannot be read", async () => {
    const pod = await platform.startPod("app-a");
    await platform.startStore("store-1");
    await post(pod, "hello", "id");
    const port = await platform.listen((_req, res) => void res.writeHead(403).end());
    platform.pods.push({ name: "app-refused", uid: "uid-refused", port });
    const { exitCode, stderr } = await platform.run("archive");
    expect(exitCode).toBe(3);
    expect(stderr).toContain("was stored without pod app-refused");
    expect(manifest()).toMatchObject({ complete: false, lines: 1 });
    expect(ids(await platform.restored())).toEqual(["id"]);
  });

  test(
    "waits for a serving pod that cannot be read yet, and for the first of several that start",
    slow,
    async () => {
      const pod = await platform.startPod("app-a");
      await platform.startPod("app-b");
      await post(pod, "hello", "id");
      const { port } = pod;
      let broken = 0;
      // More often than one download tries.
      const early = { ...pod, port: 0 };
      early.port = await platform.listen((_req, res) => {
        if (++broken < 7) return void res.destroy();
        early.port = port;
        res.writeHead(503).end();
      });
      platform.pods.splice(0, 1, early);
      const starting = { name: "store-1", uid: "uid-of-store-1", port: 0, serving: false };
      starting.port = await platform.listen((_req, res) => {
        starting.port = ready?.port ?? 0;
        res.writeHead(503).end();
      });
      await platform.startStore("store-1");
      const ready = platform.stores.pop();
      platform.stores.push(starting);
      const { exitCode, stdout } = await platform.run("archive", "--patience", "60");
      expect(exitCode).toBe(0);
      expect(stdout).toContain("pod app-a: FAILED");
      expect(stdout).toContain("node-store store-1: not serving");
      expect(manifest()).toMatchObject({ complete: true, lines: 1 });
      expect(manifest().sources.map(({ name, error }) => [name, error])).toEqual([
        ["app-a", undefined],
        ["app-b", undefined],
        ["store-1", undefined],
      ]);
    },
  );

  test(
    "reads the stores before and while a pod is tried again: they drop their oldest lines meanwhile",
    slow,
    async () => {
      const source = await platform.startPod("app-gone");
      for (const id of ["first", "second", "third"]) await post(source, "hello", id);
      const records = collect(platform, source);
      platform.pods.length = 0;
      const store = new Store(await platform.startStore("store-1"));
      store.append(records.slice(0, 1));
      const dropped: number[] = [];
      let asked = 0;
      const port = await platform.listen((_req, res) => {
        asked++;
        // By then the stores were read once, and after the next tries once more.
        if (asked === 3 || asked === 9) {
          dropped.push(asked);
          store.empty();
          store.append(records.slice(dropped.length, dropped.length + 1));
        }
        if (asked < 10) res.destroy();
        else res.writeHead(403).end();
      });
      platform.pods.push({ name: "app-late", uid: "uid-late", port });
      const { exitCode, stderr } = await platform.run("archive", "--patience", "10");
      expect([exitCode, stderr]).toEqual([3, expect.stringContaining("was stored without pod app-late")]);
      expect(dropped).toEqual([3, 9]);
      expect(ids(await platform.restored())).toEqual(["first", "second", "third"]);
      expect(manifest().sources.map(({ name, bytes }) => [name, bytes])).toEqual([
        ["app-late", 0],
        ["store-1", Buffer.byteLength(records.join(""))],
      ]);
    },
  );

  test("is complete without a pod that is starting or has gone", slow, async () => {
    const pod = await platform.startPod("app-a");
    await platform.startStore("store-1");
    await post(pod, "hello", "id");
    const refuse = await platform.listen((_req, res) => void res.writeHead(403).end());
    platform.pods.push({ name: "app-starting", uid: "uid-s", port: refuse, serving: false });
    const leaving = { name: "app-leaving", uid: "uid-l", port: 0 };
    leaving.port = await platform.listen((_req, res) => {
      platform.pods.splice(platform.pods.indexOf(leaving), 1);
      res.writeHead(404).end();
    });
    platform.pods.push(leaving);
    expect((await platform.run("archive")).exitCode).toBe(0);
    const failed = manifest().sources.filter(({ error }) => error !== undefined);
    expect(failed.map(({ name, missed }) => [name, missed]).sort()).toEqual([
      ["app-leaving", false],
      ["app-starting", false],
    ]);
  });

  test("fails with 1 and stores nothing where nothing can be read", slow, async () => {
    const port = await platform.listen((_req, res) => void res.writeHead(500).end());
    platform.stores.push({ name: "store-1", uid: "s", port });
    platform.pods.push({ name: "app-a", uid: "a", port });
    const { exitCode, stderr } = await platform.run("archive");
    expect(exitCode).toBe(1);
    expect(stderr).toContain("no pod and no node's store could be read");
    expect(platform.stored()).toEqual([]);
  });

  test("names a Service that is not there, and the command that shows what is", slow, async () => {
    const { exitCode, stderr } = await platform.run("archive", "--app", "logging/other");
    expect(exitCode).toBe(1);
    expect(stderr).toContain("no Service named logging/other");
    expect(stderr).toContain("next: kubectl --namespace logging get endpointslices");
    expect((await platform.run("archive", "--keep-days", "many")).exitCode).toBe(64);
  });

  test("twice archives each line once, and nothing of what the first run left", slow, async () => {
    const pod = await platform.startPod("app-a");
    await platform.startStore("store-1");
    await post(pod, "hello", "one");
    await platform.run("archive");
    const { stdout } = await platform.run("archive");
    expect(stdout).toContain("pod app-a: 0 bytes");
    expect(readdirSync(join(platform.directory, "app/logs"))).toEqual([]);
    expect(platform.stored()).toHaveLength(4);
    expect(manifest()).toMatchObject({ lines: 0, sequence: 2, complete: true });
    await post(pod, "hello", "two");
    await platform.run("archive");
    expect(manifest().lines).toBe(1);
    expect(ids(await platform.restored("--from", "latest"))).toEqual(["two"]);
    expect(ids(await platform.restored())).toEqual(["one", "two"]);
  });

  test("killed at any moment leaves no archive that is not whole, and the next one works", slow, async () => {
    const pod = await platform.startPod("app-a");
    await platform.startStore("store-1");
    const sent: string[] = [];
    let killed = 0;
    for (let change = 1; change <= 8; change++) {
      for (let i = 0; i < 25; i++) {
        sent.push(`id-${change}-${i}`);
        await post(pod, "x".repeat(2000), `id-${change}-${i}`);
      }
      const run = platform.run("archive");
      let changes = 0;
      // At each step that shows in the directory: partial copies, their renames, removals.
      const watcher = watch(platform.archives, () => {
        if (++changes === change) run.kill("SIGKILL");
      });
      if ((await run).signal === "SIGKILL") killed++;
      watcher.close();
      for (const name of platform.stored().filter((file) => file.endsWith(".json")))
        expect((await platform.run("restore", "--verify", "--from", name)).exitCode).toBe(0);
    }
    expect(killed).toBeGreaterThan(0);
    writeFileSync(join(platform.archives, `${manifest().archive}.partial`), "what a killed run had copied");
    expect((await platform.run("archive")).exitCode).toBe(0);
    expect(platform.stored().filter((file) => !/\.(json|tar\.gz)$/.test(file))).toEqual([]);
    expect(ids(await platform.restored())).toEqual(sent);
  });
});

describe("storage", () => {
  async function archived(): Promise<string> {
    const pod = await platform.startPod("app-a");
    await platform.startStore("store-1");
    for (let i = 0; i < 20; i++) await post(pod, `message ${i}`, `id-${i}`);
    await platform.run("archive");
    return join(platform.archives, manifest().archive);
  }

  test("a truncated archive is detected, and so is a changed byte", async () => {
    const path = await archived();
    const whole = readFileSync(path);
    truncateSync(path, whole.length - 10);
    const cut = await platform.run("restore");
    expect([cut.exitCode, cut.stdout]).toEqual([1, ""]);
    expect(cut.stderr).toContain(`is damaged: it has ${whole.length - 10} bytes`);
    whole.writeUInt8(whole.readUInt8(40) ^ 1, 40);
    writeFileSync(path, whole);
    const changed = await platform.run("restore", "--verify");
    expect(changed.exitCode).toBe(1);
    expect(changed.stderr).toContain("its SHA-256 is");
  });

  test.skipIf(process.getuid?.() !== 0)(
    "a full volume fails loudly and keeps the older archives",
    slow,
    async () => {
      await archived();
      const before = platform.stored();
      const volume = platform.path("volume");
      await execa("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", volume]);
      try {
        await execa("sh", [
          "-c",
          `cp "$1"/* "$2" && head -c 1M /dev/zero > "$2/filler" || true`,
          "sh",
          platform.archives,
          volume,
        ]);
        const { exitCode, stderr } = await platform.run("archive", "--archives", volume);
        expect(exitCode).toBe(1);
        expect(stderr).toMatch(/could not be stored in .*; older archives are untouched: .*ENOSPC/);
        expect(
          readdirSync(volume)
            .filter((name) => name !== "filler" && name !== ".lock")
            .sort(),
        ).toEqual(before);
        expect(ids(await platform.restored("--archives", volume))).toHaveLength(20);
      } finally {
        await execa("umount", [volume]);
      }
    },
  );
});

describe("restore", () => {
  test("lists, filters by time and pattern, and names what is missing", slow, async () => {
    const pod = await platform.startPod("app-a");
    await platform.startStore("store-1");
    await post(pod, "early", "id-1");
    await new Promise((done) => setTimeout(done, 20));
    const since = new Date().toISOString();
    await post(pod, "late", "id-2");
    await post(pod, "latest", "id-3");
    await platform.run("archive");
    const { archive } = manifest();
    expect((await platform.run("restore", "--list")).stdout).toMatch(
      new RegExp(`^${archive}\t3 lines\t1 pods\t`),
    );
    expect(ids(await platform.restored("--since", since))).toEqual(["id-2", "id-3"]);
    expect(ids(await platform.restored("--since", "1h", "--grep", "est$"))).toEqual(["id-3"]);
    expect(ids(await platform.restored("--from", join(platform.archives, archive)))).toHaveLength(3);
    const missing = await platform.run("restore", "--from", "app-logs-x.tar.gz");
    expect(missing.exitCode).toBe(1);
    expect(missing.stderr).toContain("there is no archive named app-logs-x.tar.gz");
    expect((await platform.run("restore", "--grep", "(")).exitCode).toBe(64);
    // 5 is no year, whatever Date takes it for.
    for (const time of ["yesterday", "5", "2026", "12:00", "1w"]) {
      const refused = await platform.run("restore", "--since", time);
      expect([time, refused.exitCode]).toEqual([time, 64]);
      expect(refused.stderr).toContain("must be a time such as");
    }
    for (const time of ["2026-01-31", "2026-01-31T12:00", "2026-01-31T12:00:00+01:00", "3d"])
      expect([time, (await platform.run("restore", "--since", time)).exitCode]).toEqual([time, 0]);
  });

  test("of nothing says so", async () => {
    const { exitCode, stderr } = await platform.run("restore");
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining("there is no archive in")]);
  });
});
