/** The copy on a real S3 server: made, mended after an outage, and read back without the platform or onto another one. */
import {
  appendFileSync,
  copyFileSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { request } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { amount, slow } from "../../../lib/test/long.ts";
import { manifestName } from "../src/manifest.ts";
import { age, archived, idsOf, manifestsOf, newestOf } from "./archives.ts";
import { Platform, type Pod, post } from "./platform.ts";
import { type S3, startS3 } from "./s3.ts";
import { collect, Store } from "./stores.ts";

let s3: S3;
let platform: Platform;
let pod: Pod;
let store: Store;
let remote: string;
let prefixes = 0;

beforeAll(async () => {
  s3 = await startS3();
  // A cold build of the server takes two minutes of processor time.
}, 900_000);
afterAll(() => s3?.stop());

beforeEach(async () => {
  platform = new Platform();
  platform.env = s3.env;
  await platform.start();
  pod = await platform.startPod("app-a");
  store = new Store(await platform.startStore("store-1"));
  remote = `${s3.remote}/platform-${prefixes++}`;
});
afterEach(() => platform.stop());

/** Posts lines and archives them, several times; returns the lines' ids. */
async function runs(count: number, ...args: string[]): Promise<string[]> {
  const sent: string[] = [];
  const before = collect(platform, pod).length;
  for (let run = 0; run < count; run++) {
    for (let i = 0; i < 5; i++) {
      const id = `id-${before + run * 5 + i}`;
      sent.push(id);
      await post(pod, `message ${i} of run ${run}`, id);
    }
    // The node's copies of lines that the run before read of the pod: archived again, restored once.
    store.append(collect(platform, pod).slice(Math.max(0, before + (run - 1) * 5), before + run * 5));
    await archived(platform, ...args);
  }
  return sent;
}

/** Where the server keeps an object, or all of this test's. */
const object = (name = ""): string =>
  join(s3.directory, "objects", remote.slice(remote.indexOf(":") + 1), name);
const archivesOf = (names: string[]): string[] => names.filter((name) => name.endsWith(".tar.gz")).sort();

/** Expects the remote to hold what the volume holds, byte for byte. */
function expectCopied(): void {
  expect(readdirSync(object()).sort()).toEqual(platform.stored());
  for (const name of platform.stored())
    expect(readFileSync(object(name)).equals(readFileSync(join(platform.archives, name))), name).toBe(true);
}

describe("archive --remote", () => {
  test("copies each archive with its manifest, once", async () => {
    const sent = await runs(2, "--remote", remote);
    expectCopied();
    const [first] = archivesOf(platform.stored());
    const said = await archived(platform, "--remote", remote);
    expect(said.match(/: copied to /g)).toHaveLength(1);
    expect(said).not.toContain(`${first}: copied`);
    expectCopied();
    expect(idsOf(await platform.restored("--from-remote", remote))).toEqual(sent);
  });

  test("reads each copy back, and one that comes back changed does not count", slow, async () => {
    const { port } = new URL(s3.env.RCLONE_CONFIG_S3_ENDPOINT ?? "");
    let changes = 0;
    const proxy = await platform.listen((req, res) => {
      const { method, headers, url: path } = req;
      const inner = request({ port, method, headers, path }, (answer) => {
        res.writeHead(answer.statusCode ?? 0, answer.headers);
        const change = method === "GET" && path?.includes(".tar.gz");
        answer.on("data", (chunk: Buffer) => {
          if (change) chunk.writeUInt8(chunk.readUInt8(0) ^ 1, 0);
          if (change) changes++;
          res.write(chunk);
        });
        answer.on("end", () => res.end());
      });
      req.pipe(inner);
    });
    platform.env = { ...s3.env, RCLONE_CONFIG_S3_ENDPOINT: `http://127.0.0.1:${proxy}` };
    const { exitCode, stderr } = await platform.run("archive", "--remote", remote);
    expect([exitCode, changes]).toEqual([1, expect.any(Number)]);
    expect(changes).toBeGreaterThan(0);
    const { archive, sha256 } = newestOf(platform);
    expect(stderr).toContain(`${archive} could not be copied to ${remote}`);
    expect(stderr).toContain(`not ${sha256}`);
    expect(readdirSync(object())).toEqual([archive]);
    platform.env = s3.env;
    await archived(platform, "--remote", remote);
    expectCopied();
  });

  test("trusts the certificates of AWS_CA_BUNDLE, and no other", slow, async () => {
    const { port } = new URL(s3.env.RCLONE_CONFIG_S3_ENDPOINT ?? "");
    const [key, bundle] = [join(platform.path("tls"), "key"), join(platform.path("tls"), "certificate")];
    const subject = ["-subj", "/CN=s3", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-nodes"];
    await execa("openssl", [
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      ...subject,
      "-keyout",
      key,
      "-out",
      bundle,
    ]);
    const door = createServer({ key: readFileSync(key), cert: readFileSync(bundle) }, (req, res) => {
      const { method, headers, url: path } = req;
      const inner = request({ port, method, headers, path }, (answer) => {
        res.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(res);
      });
      req.pipe(inner);
    });
    await new Promise<void>((done) => door.listen(0, "127.0.0.1", done));
    try {
      const endpoint = `https://127.0.0.1:${(door.address() as AddressInfo).port}`;
      platform.env = { ...s3.env, RCLONE_CONFIG_S3_ENDPOINT: endpoint };
      const { exitCode, stderr } = await platform.run("archive", "--remote", remote);
      expect([exitCode, stderr]).toEqual([1, expect.stringMatching(/certificate/)]);
      platform.env = { ...platform.env, AWS_CA_BUNDLE: bundle };
      await archived(platform, "--remote", remote);
      expectCopied();
    } finally {
      door.closeAllConnections();
      door.close();
    }
  });

  test(
    "fails loudly while the remote is away, stores all the same, and copies all that is missing afterwards",
    slow,
    async () => {
      await runs(1, "--remote", remote);
      await s3.kill();
      try {
        for (let run = 0; run < 3; run++) {
          await post(pod, "meanwhile", `away-${run}`);
          const { exitCode, stderr, stdout } = await platform.run("archive", "--remote", remote);
          expect(exitCode).toBe(1);
          expect(stderr).toMatch(/^log-archiver: s3:bucket\S+ cannot be read: .*connection refused$/m);
          expect(stderr).toContain(`next: rclone lsf ${remote}`);
          expect(stdout).toContain("1 lines of 1 pods");
        }
      } finally {
        await s3.restart();
      }
      // Once it is back, what was next shows what is there.
      expect((await execa("sh", ["-c", `rclone lsf ${remote}`], { env: s3.env })).stdout).toContain(
        ".tar.gz",
      );
      expect(manifestsOf(platform)).toHaveLength(4);
      expect(readdirSync(object())).toHaveLength(2);
      const said = await archived(platform, "--remote", remote);
      expect(said.match(/: copied to /g)).toHaveLength(4);
      expectCopied();
    },
  );

  test("makes no bucket of a mistyped name", slow, async () => {
    const mistyped = remote.replace("bucket", "bukcet");
    const { exitCode, stderr, stdout } = await platform.run("archive", "--remote", mistyped);
    expect([exitCode, stdout]).toEqual([1, expect.stringContaining("verified and stored")]);
    expect(stderr).toMatch(/could not be copied to s3:bukcet\S*: .*NoSuchBucket/);
    expect(readdirSync(join(s3.directory, "objects"))).not.toContain("bukcet");
    expect(manifestsOf(platform)).toHaveLength(1);
  });

  test.each([
    ["secret", { RCLONE_CONFIG_S3_SECRET_ACCESS_KEY: "wrong" }, /cannot be read: .*SignatureDoesNotMatch/],
    ["key", { RCLONE_CONFIG_S3_ACCESS_KEY_ID: "wrong" }, /cannot be read: .*InvalidAccessKeyId/],
    ["type", { RCLONE_CONFIG_S3_TYPE: "s4" }, /cannot be read: .*s4/],
    ["place of rclone", { PATH: "nowhere" }, /rclone is not on the PATH\nnext: apt-get install --yes rclone/],
  ])("says what is wrong with the %s, and stores all the same", slow, async (_, wrong, reason) => {
    // What a run needs before it needs rclone.
    const programs = platform.path("programs");
    for (const name of ["cat", "flock", "gzip", "sh", "sort", "tar"]) {
      const { stdout } = await execa("sh", ["-c", 'command -v "$0"', name]);
      symlinkSync(stdout, join(programs, name));
    }
    platform.env = { ...s3.env, ...wrong };
    if (platform.env.PATH) platform.env.PATH = programs;
    const { exitCode, stderr } = await platform.run("archive", "--remote", remote);
    expect([exitCode, stderr]).toEqual([1, expect.stringMatching(reason)]);
    expect(manifestsOf(platform)).toHaveLength(1);
  });

  test("names an archive that is damaged on the volume, and copies the others", slow, async () => {
    await runs(3);
    const [first = "", second = "", third = ""] = archivesOf(platform.stored());
    const path = join(platform.archives, second);
    const bytes = readFileSync(path);
    bytes.writeUInt8(bytes.readUInt8(40) ^ 1, 40);
    writeFileSync(path, bytes);
    const { exitCode, stderr } = await platform.run("archive", "--remote", remote);
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining(`${path} is damaged and was not copied`)]);
    expect(archivesOf(readdirSync(object()))).toEqual([first, third, newestOf(platform).archive]);
  });

  test("has one archive of a day there too, and the small ones until it is copied", slow, async () => {
    const sent = await runs(3);
    await age(platform, 1);
    const small = platform.stored();
    // As if all had been copied on that day.
    await execa("rclone", ["copy", "--include", "app-logs-*", platform.archives, remote], { env: s3.env });
    await s3.kill();
    try {
      expect((await platform.run("archive", "--remote", remote)).exitCode).toBe(1);
    } finally {
      await s3.restart();
    }
    expect(manifestsOf(platform).map(({ replaces = [] }) => replaces.length)).toEqual([3, 0]);
    expect(readdirSync(object()).sort()).toEqual(small);
    await archived(platform, "--remote", remote);
    expectCopied();
    expect(idsOf(await platform.restored("--from-remote", remote))).toEqual(sent);
  });

  test(
    "copies again what is shorter there than it should be, and not over another platform's",
    slow,
    async () => {
      await runs(2, "--remote", remote);
      const [first = "", second = ""] = archivesOf(platform.stored());
      truncateSync(object(first), 100);
      await archived(platform, "--remote", remote);
      expectCopied();
      const other = readFileSync(object(manifestName(second)), "utf8").replace(
        /"sha256": "\w/,
        '"sha256": "x',
      );
      writeFileSync(object(manifestName(second)), other);
      appendFileSync(object(second), "other");
      const { exitCode, stderr } = await platform.run("archive", "--remote", remote);
      expect(exitCode).toBe(1);
      expect(stderr).toContain(`${remote}/${second} is another platform's archive`);
      expect(readFileSync(object(second), "latin1").endsWith("other")).toBe(true);
    },
  );

  test("killed at any moment of the copy leaves none there that is not whole, and the next run ends it", {
    ...slow,
    timeout: 600_000,
  }, async () => {
    const sent = await runs(3);
    const copied = platform.stored();
    const began = Date.now();
    await archived(platform);
    const archiving = Date.now() - began;
    const copying = Date.now();
    await archived(platform, "--remote", remote);
    const took = Date.now() - copying - archiving;
    const kills = amount(2, 6);
    // A run may be faster than the measured one: then the next is killed sooner.
    let pace = 1;
    for (let kill = 0; kill < kills; ) {
      for (const name of copied) rmSync(object(name));
      const run = platform.runWith({ detached: true }, "archive", "--remote", remote);
      await sleep((archiving + (took * (kill + Math.random())) / kills) * pace);
      // With what it started, as a pod ends.
      if (run.exitCode === null && run.pid) process.kill(-run.pid, "SIGKILL");
      if ((await run).signal === "SIGKILL") kill++;
      else pace *= 0.8;
      const there = await platform.run("restore", "--from-remote", remote, "--verify");
      expect([there.exitCode, there.stderr]).toEqual([0, expect.stringContaining("verified")]);
      await archived(platform, "--remote", remote);
      expectCopied();
    }
    expect(idsOf(await platform.restored("--from-remote", remote))).toEqual(sent);
  });
});

describe("restore --from-remote", slow, () => {
  test("prints and says what a restore from the volume does", async () => {
    await runs(2, "--remote", remote);
    await sleep(20);
    const since = new Date().toISOString();
    const late = await runs(2, "--remote", remote);
    const [, second = ""] = archivesOf(platform.stored());
    for (const args of [
      [],
      ["--since", since],
      ["--grep", "message 3"],
      ["--grep", "message 3", "--since", since],
      ["--from", second],
      ["--from", manifestName(second)],
      ["--from", "latest"],
      ["--list"],
      ["--verify"],
      ["--skip-damaged"],
    ]) {
      const here = await platform.run("restore", ...args);
      const there = await platform.run("restore", "--from-remote", remote, ...args);
      const what = ({ exitCode, stdout, stderr }: typeof here) => [args, exitCode, stdout, stderr];
      expect(here.exitCode).toBe(0);
      expect(what(there)).toEqual(what(here));
    }
    expect(idsOf(await platform.restored("--from-remote", `${remote}/`))).toHaveLength(20);
    expect(idsOf(await platform.restored("--from-remote", remote, "--since", since))).toEqual(late);
    expect(readdirSync(platform.path("tmp"))).toEqual([]);
  });

  const damages: [string, (path: string) => void][] = [
    ["truncated", (path: string) => truncateSync(path, 100)],
    ["changed", (path: string) => changeByte(path)],
    ["removed", (path: string) => rmSync(path)],
    ["another", (path: string) => copyFileSync(object(archivesOf(readdirSync(object())).at(-1)), path)],
  ];
  test.each(damages)(
    "names an archive that was %s there, and reads the others if asked",
    async (_, damage) => {
      const sent = await runs(3, "--remote", remote);
      const [, second = ""] = archivesOf(platform.stored());
      damage(object(second));
      const refused = await platform.run("restore", "--from-remote", remote);
      expect([refused.exitCode, refused.stdout]).toEqual([1, ""]);
      expect(refused.stderr).toContain(second);
      const rest = await platform.run("restore", "--from-remote", remote, "--skip-damaged");
      expect(rest.exitCode).toBe(3);
      expect(rest.stderr).toMatch(new RegExp(`^left out: .*${second}`, "m"));
      // The lines of the second run that the third one read of the node are there.
      expect(idsOf(rest.stdout.split("\n"))).toEqual(sent);
      const [first = ""] = archivesOf(platform.stored());
      expect(await platform.run("restore", "--from-remote", remote, "--from", first)).toMatchObject({
        exitCode: 0,
      });
      expect(readdirSync(platform.path("tmp"))).toEqual([]);
    },
  );

  test.each([
    ["there", (name: string): string[] => [object(name)]],
    ["there and on the volume", (name: string) => [object(name), join(platform.archives, name)]],
  ])("names a manifest that is damaged %s, and reads the other archives if asked", async (_, places) => {
    await runs(2, "--remote", remote);
    const [first = "", second = ""] = archivesOf(platform.stored());
    const broken = manifestName(first);
    const paths = places(broken);
    for (const path of paths) writeFileSync(path, "{");
    const shelves = [
      ["--from-remote", remote],
      ...(paths.length > 1 ? [["--from-dir", platform.archives], []] : []),
    ];
    for (const from of shelves) {
      const refused = await platform.run("restore", ...from);
      expect([refused.exitCode, refused.stdout]).toEqual([1, ""]);
      expect(refused.stderr).toContain(`${broken} in `);
      const rest = await platform.run("restore", ...from, "--skip-damaged");
      expect([rest.exitCode, rest.stderr]).toEqual([3, expect.stringContaining(`left out: ${broken} in `)]);
      expect(rest.stdout.split("\n").length).toBeGreaterThan(4);
      expect(await platform.run("restore", ...from, "--from", second)).toMatchObject({ exitCode: 0 });
      const listed = await platform.run("restore", ...from, "--list");
      expect([listed.exitCode, listed.stderr]).toEqual([3, expect.stringContaining(`${broken} in `)]);
      expect(listed.stdout).toMatch(new RegExp(`^${second}\t`));
    }
  });

  const places = [
    ["a prefix that holds nothing", "s3:bucket/nothing/here", "there is no ", "rclone lsf s3:bucket/nothing"],
    ["a bucket that is not there", "s3:bukcet", "there is no s3:bukcet: ", "rclone lsf s3:"],
    ["a prefix of it", "s3:bukcet/path", "there is no s3:bukcet/path: ", "rclone lsf s3:bukcet"],
    ["an empty bucket", "s3:empty", "there is no archive in s3:empty", "rclone lsf s3:"],
    ["no remote of that name", "s4:bucket", "s4:bucket cannot be read: ", "rclone listremotes"],
  ] as const;
  test.each(places)("says so of %s", async (_, from, reason, next) => {
    await execa("rclone", ["mkdir", "s3:empty"], { env: s3.env });
    try {
      for (const command of [["restore"], ["restore", "--verify"], ["import"]]) {
        const { exitCode, stdout, stderr } = await platform.run(...command, "--from-remote", from);
        expect([exitCode, stdout]).toEqual([1, ""]);
        expect(stderr).toContain(`log-archiver: ${reason}`);
        expect(stderr.split("\n").at(-1)).toBe(`next: ${next}`);
        // What is next shows what there is instead, or that there is less still.
        const { exitCode: shown } = await execa("sh", ["-c", next], { env: s3.env, reject: false });
        expect(shown).toBe(from === "s3:bukcet/path" ? 3 : 0);
      }
    } finally {
      await execa("rclone", ["rmdir", "s3:empty"], { env: s3.env });
    }
  });
});

function changeByte(path: string): void {
  const bytes = readFileSync(path);
  bytes.writeUInt8(bytes.readUInt8(40) ^ 1, 40);
  writeFileSync(path, bytes);
}

describe("restore --from-dir", slow, () => {
  test("prints what a restore from the volume does", async () => {
    await runs(3);
    const elsewhere = platform.path("elsewhere");
    await execa("cp", ["-r", `${platform.archives}/.`, elsewhere]);
    const expected = await platform.restored();
    rmSync(platform.archives, { recursive: true });
    expect(await platform.restored("--from-dir", elsewhere)).toEqual(expected);
    const [first = ""] = archivesOf(readdirSync(elsewhere));
    expect(await platform.restored("--from-dir", elsewhere, "--from", first)).toHaveLength(5);
    truncateSync(join(elsewhere, first), 10);
    const { exitCode, stderr } = await platform.run("restore", "--from-dir", elsewhere);
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining(`${join(elsewhere, first)} is damaged`)]);
  });

  test("says so where there is no such directory, nothing in it, or two places are named", async () => {
    const { path } = { path: join(platform.directory, "missing") };
    const missing = await platform.run("restore", "--from-dir", path);
    expect([missing.exitCode, missing.stderr]).toEqual([
      1,
      expect.stringContaining(`${path} cannot be read`),
    ]);
    const empty = platform.path("empty");
    const nothing = await platform.run("restore", "--from-dir", empty);
    expect([nothing.exitCode, nothing.stderr]).toEqual([
      1,
      `log-archiver: there is no archive in ${empty}\nnext: ls ${empty}`,
    ]);
    expect(await execa("sh", ["-c", `ls ${empty}`])).toMatchObject({ exitCode: 0, stdout: "" });
    const both = await platform.run("restore", "--from-dir", empty, "--from-remote", remote);
    expect(both.exitCode).toBe(64);
  });
});

describe("import", slow, () => {
  let other: Platform;
  beforeEach(async () => {
    other = new Platform();
    other.env = s3.env;
    await other.start();
  });
  afterEach(() => other.stop());

  const ways: [string, () => Promise<{ inputFile?: string; args: string[] }>][] = [
    ["--from-remote", async () => ({ args: ["--from-remote", remote] })],
    ["--from-dir", async () => ({ args: ["--from-dir", platform.archives] })],
    [
      "--from-stdin",
      async () => {
        const inputFile = join(platform.directory, "archives.tar");
        await execa("tar", ["-cf", inputFile, "-C", platform.archives, "."]);
        return { inputFile, args: ["--from-stdin"] };
      },
    ],
  ];

  test.each(ways)("%s stores each archive with the same lines, and none again", async (_, way) => {
    await runs(3, "--remote", remote);
    const { args, ...options } = await way();
    const run = () => other.runWith(options, "import", ...args);
    const first = await run();
    expect([first.exitCode, first.stderr]).toEqual([0, ""]);
    expect(first.stdout.split("\n").at(-1)).toBe("3 archives stored, 0 were there already");
    expect(archivesOf(other.stored())).toEqual(archivesOf(platform.stored()));
    expect(await other.restored()).toEqual(await platform.restored());
    const before = other.stored().map((name) => readFileSync(join(other.archives, name), "latin1"));
    expect((await run()).stdout).toBe("0 archives stored, 3 were there already");
    expect(other.stored().map((name) => readFileSync(join(other.archives, name), "latin1"))).toEqual(before);
    expect(readdirSync(other.path("tmp"))).toEqual([]);
  });

  test.each(ways)(
    "%s killed at any moment stores nothing that is not whole, and repeated all",
    async (_, way) => {
      const sent = await runs(4, "--remote", remote);
      const { args, ...options } = await way();
      const began = Date.now();
      await other.runWith(options, "import", ...args);
      const took = Date.now() - began;
      const kills = amount(1, 5);
      // A run may be faster than the measured one: then the next is killed sooner.
      let pace = 1;
      for (let kill = 0; kill < kills; ) {
        for (const name of other.stored()) rmSync(join(other.archives, name));
        const run = other.runWith({ ...options, detached: true }, "import", ...args);
        await sleep(((took * (kill + 1)) / (kills + 2)) * pace);
        if (run.exitCode === null && run.pid) process.kill(-run.pid, "SIGKILL");
        if ((await run).signal === "SIGKILL") kill++;
        else pace *= 0.8;
        for (const { archive } of manifestsOf(other))
          expect((await other.run("restore", "--verify", "--from", archive)).exitCode).toBe(0);
        expect((await other.runWith(options, "import", ...args)).exitCode).toBe(0);
        expect(idsOf(await other.restored())).toEqual(sent);
      }
    },
  );

  test("names what is damaged or has another one's name, and stores the others", async () => {
    await runs(4, "--remote", remote);
    const [first = "", second = "", third = "", fourth = ""] = archivesOf(platform.stored());
    for (const name of [fourth, manifestName(fourth)])
      copyFileSync(
        object(name),
        join(other.archives, name.replace(fourth.slice(0, -7), second.slice(0, -7))),
      );
    const described = join(other.archives, manifestName(second));
    writeFileSync(described, readFileSync(described, "utf8").replaceAll(fourth, second));
    changeByte(object(first));
    truncateSync(object(third), 100);
    const { exitCode, stdout, stderr } = await other.run("import", "--from-remote", remote);
    expect(exitCode).toBe(3);
    expect(stdout).toMatch(/^1 archives stored, 0 were there already$/m);
    expect(stderr.split("\n")).toEqual([
      expect.stringMatching(`^left out: .*${first} `),
      `left out: ${other.archives} has another archive named ${second}`,
      expect.stringMatching(`^left out: .*${third} `),
    ]);
    expect(archivesOf(other.stored())).toEqual([second, fourth]);
  });

  test("asks for one place", async () => {
    for (const args of [[], ["--from-stdin", "--from-dir", "/tmp"]]) {
      const { exitCode, stderr } = await other.run("import", ...args);
      expect([exitCode, stderr]).toEqual([1, expect.stringContaining("takes one of --from-dir")]);
    }
  });

  test("leaves the cursors behind: the new platform reads its own sources whole, and each line is restored once", async () => {
    const sent = await runs(3, "--remote", remote);
    // Of the same names and, on the node, the same files, as a platform that is made anew may have.
    const theirs = await other.startPod("app-a");
    const theirStore = new Store(await other.startStore("store-1"));
    for (let i = 0; i < 7; i++) await post(theirs, `new ${i}`, `new-${i}`);
    theirStore.append(collect(other, theirs));
    expect((await other.run("import", "--from-remote", remote)).exitCode).toBe(0);
    expect(manifestsOf(other).filter(({ cursors, sequence }) => cursors || sequence)).toEqual([]);
    await archived(other);
    expect(newestOf(other)).toMatchObject({ lines: 7, sequence: 1 });
    const news = Array.from({ length: 7 }, (_, i) => `new-${i}`);
    expect(idsOf(await other.restored())).toEqual([...sent, ...news]);
    // Nor does an import that comes later change where the next run goes on.
    const later = await runs(1, "--remote", remote);
    expect((await other.run("import", "--from-remote", remote)).stdout).toContain("1 archives stored");
    await archived(other);
    expect(newestOf(other)).toMatchObject({ lines: 0, sequence: 2 });
    expect(idsOf(await other.restored()).toSorted()).toEqual([...sent, ...news, ...later].toSorted());
  });

  test("archives age as if they had been made there, and become one a day with the others", async () => {
    const sent = await runs(3);
    const theirs = await other.startPod("app-b");
    await other.startStore("store-1");
    await post(theirs, "own", "own-0");
    await archived(other);
    await age(platform, 2);
    await age(other, 2);
    const importAll = () => other.run("import", "--from-dir", platform.archives);
    expect((await importAll()).exitCode).toBe(0);
    await archived(other);
    const [day, newest] = manifestsOf(other);
    expect(day?.replaces).toHaveLength(4);
    expect(newest).toMatchObject({ sequence: 2, lines: 0 });
    expect(idsOf(await other.restored()).toSorted()).toEqual([...sent, "own-0"].toSorted());
    expect((await importAll()).stdout).toBe("0 archives stored, 3 were there already");
    // What it reads goes on where its own archive of that day said.
    await post(theirs, "own", "own-1");
    await archived(other);
    expect(newestOf(other).lines).toBe(1);
    await age(other, 27);
    await archived(other);
    expect(idsOf(await other.restored())).toHaveLength(17);
    await age(other, 2);
    expect(await archived(other)).toContain("removed, all its lines are older than 30 days");
    expect(idsOf(await other.restored())).toEqual(["own-1"]);
  });
});
