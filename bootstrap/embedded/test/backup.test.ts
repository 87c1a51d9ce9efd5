/** Which files are accepted as backups, and what is left if one is refused. at-rest.test.ts and e2e/long test their data. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it, vi } from "vitest";
import { follow } from "../../../lib/test/follow.ts";
import { failureOf } from "../../../tools/test/shop.ts";

const directory = mkdtempSync(join(tmpdir(), "a backup "));
vi.stubEnv("STATE_DIR", join(directory, "state"));
vi.stubEnv("CACHE_DIR", join(directory, "cache"));
vi.stubEnv("DEPLOY_LOG", join(directory, "deploy.log"));
const { backup, copyConsistently, defaultFile, ensureEtcdData, readManifest, unpack } = await import(
  "../src/backup.ts"
);
const { state } = await import("../src/layout.ts");

const file = join(directory, "it.tar.gz");
afterAll(() => rmSync(directory, { recursive: true }));
beforeEach(() => {
  rmSync(state(), { recursive: true, force: true });
  mkdirSync(state(), { recursive: true });
});

/** Writes a file with the layout of a backup. */
function make(manifest: object = {}, snapshot = "data"): void {
  const content = mkdtempSync(join(directory, "content-"));
  for (const name of ["pki", "secrets", "nodes/node1/opt"])
    mkdirSync(join(content, name), { recursive: true });
  writeFileSync(join(content, "pki/ca.key"), "key", { mode: 0o600 });
  writeFileSync(join(content, "secrets/credentials.json"), "{}", { mode: 0o600 });
  writeFileSync(join(content, "settings.json"), '{"httpPort":80}');
  writeFileSync(join(content, "etcd.snapshot"), snapshot);
  const sha256 = createHash("sha256").update("data").digest("hex");
  writeFileSync(join(content, "backup.json"), JSON.stringify({ format: 1, sha256, ...manifest }));
  const members = ["--exclude=./backup.json", "backup.json", "."];
  execFileSync("tar", ["--create", "--gzip", "-f", file, "-C", content, ...members]);
}
const left = (): string[] => readdirSync(state()).sort();

describe("a backup", () => {
  it("becomes the state, with the modes that it had, and leaves etcd's data to what comes with the programs", async () => {
    make();
    await unpack(file);
    expect(left()).toEqual(["nodes", "pki", "restore", "secrets", "settings.json"]);
    expect(statSync(state("pki/ca.key")).mode & 0o777).toBe(0o600);
    expect(readdirSync(state("restore"))).toEqual(["etcd.snapshot"]);
    expect(await readManifest(file)).toMatchObject({ format: 1 });
  });

  it("is refused where a platform is, and nothing of that is touched", async () => {
    make();
    for (const name of ["pki", "etcd", "nodes"]) {
      mkdirSync(state(name));
      await expect(unpack(file)).rejects.toThrow(/a platform already exists/);
      expect(left()).toEqual([name]);
      rmSync(state(name), { recursive: true });
    }
  });

  it("is taken again where a killed run left half of it, and bootstrap refuses that half", async () => {
    make();
    mkdirSync(state("restore"));
    writeFileSync(state("restore/unfinished"), "");
    mkdirSync(state("nodes/half"), { recursive: true });
    await expect(ensureEtcdData()).rejects.toThrow(/a restore was interrupted/);
    await unpack(file);
    expect(readdirSync(state("nodes"))).toEqual(["node1"]);
    expect(existsSync(state("restore/unfinished"))).toBe(false);
  });

  it("whose data is not what was saved is refused and leaves nothing; what is next shows what is in it", async () => {
    make({}, "other data");
    const { message, next } = await failureOf(unpack(file));
    expect(message).toContain("differs from what was saved");
    expect(left()).toEqual([]);
    expect(await follow(next)).toMatchObject({ exitCode: 0, all: expect.stringContaining("etcd.snapshot") });
  });

  it.each([
    ["is cut off", () => writeFileSync(file, readFileSync(file).subarray(0, 60))],
    ["is something else", () => writeFileSync(file, "no archive")],
  ])("that %s is refused; what is next shows it", async (_, spoil) => {
    make();
    spoil();
    const { message, next } = await failureOf(unpack(file));
    expect(message).toContain("is not a backup of a platform, or it is damaged");
    expect(left()).toEqual([]);
    expect((await follow(next)).all).toMatch(/gzip|tar/);
  });

  it("that is not there is refused; what is next shows what is", async () => {
    rmSync(file, { force: true });
    const { next } = await failureOf(unpack(file));
    expect(await follow(next)).toMatchObject({ exitCode: 0 });
  });

  it("of a later version is refused", async () => {
    make({ format: 2 });
    await expect(unpack(file)).rejects.toThrow(/has format 2/);
    expect(left()).toEqual([]);
  });

  it("is not made where nothing runs, and goes where no checkout commits it", async () => {
    await expect(backup(file)).rejects.toThrow(/no platform is running here/);
    expect(defaultFile(new Date("2026-11-26T22:30:01.5Z"))).toBe(
      "/var/backups/logging-platform-20261126T223001Z.tar.gz",
    );
  });
});

describe("a directory that changes while it is copied", () => {
  const repository = (): string => state("nodes/node1/opt/platform.git");
  const git = (...args: string[]): string => execFileSync("git", args, { encoding: "utf8", stdio: "pipe" });
  const copied = (): string => state("backup/nodes/node1/opt/platform.git");

  beforeEach(() => {
    git("init", "--quiet", "--bare", repository());
    const tree = git("-C", repository(), "hash-object", "-w", "-t", "tree", "/dev/null").trim();
    const user = ["-c", "user.name=x", "-c", "user.email=x@example"];
    const commit = git("-C", repository(), ...user, "commit-tree", "-m", "x", tree).trim();
    git("-C", repository(), "update-ref", "refs/heads/main", commit);
  });

  it("is whole in the copy", async () => {
    await copyConsistently(state("nodes/node1/opt"));
    expect(git("-C", copied(), "rev-parse", "main")).toBe(git("-C", repository(), "rev-parse", "main"));
  });

  it("is refused where a Git repository in it is never whole", async () => {
    // A copy looks like this if it reads the references after the objects of a push.
    writeFileSync(join(repository(), "refs/heads/later"), `${"1".repeat(40)}\n`);
    await expect(copyConsistently(state("nodes/node1/opt"))).rejects.toThrow(
      /platform.git changed meanwhile/,
    );
  });
});
