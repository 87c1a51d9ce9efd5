/** B6: docs/runbooks/cluster-gone.md, followed to the letter: what the S3 copy has outlives the platform. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type S3, startS3 } from "../../services/log-archiver/test/s3.ts";
import { namespace } from "../app.ts";
import { cloneOfConverged, converged, endClone } from "../applications.ts";
import type { Clone } from "../clone.ts";
import { kubectl } from "../kubectl.ts";
import { archiveNow, notOnce, restored, type Sent, send } from "../lines.ts";
import { deploy, repository, secondsSince } from "../platform.ts";

// Pods reach it as they reach any other host; unlike the bridge's address it is there when the platform is gone.
const address = "10.251.0.1";
const link = (command: "add" | "delete") =>
  execa("ip", ["address", command, `${address}/32`, "dev", "lo"], { reject: false });

const lines = Number(process.env.LINES ?? 2000);
const ids = [randomUUID(), randomUUID()] as const;
let s3: S3;
let remote: string;
let clone: Clone;
let destroyed = false;

beforeAll(async () => {
  await link("add");
  s3 = await startS3({ host: address });
  remote = `${s3.remote}/platform`;
  clone = await cloneOfConverged();
});

afterAll(async () => {
  if (destroyed) clone?.remove();
  else {
    await kubectl(["--namespace", namespace, "delete", "secret", "log-archive-remote", "--ignore-not-found"]);
    await endClone(clone);
  }
  await s3?.stop();
  await link("delete");
});

/** Runs one of the repository's commands as a person would, who has exported the remote's settings. */
const npm = (...args: string[]) =>
  execa("npm", ["run", "--silent", ...args], { cwd: repository, env: s3.env, reject: false, maxBuffer: 1e9 });

/** The messages with an id that the copy has, read without a cluster. */
async function inCopy(id: string): Promise<string[]> {
  const env = { KUBECONFIG: "/dev/null" };
  const args = ["run", "--silent", "restore", "--", "--from-remote", remote, "--grep", id];
  const { stdout } = await execa("npm", args, {
    cwd: repository,
    env: { ...s3.env, ...env },
    maxBuffer: 1e9,
  });
  return stdout === "" ? [] : stdout.split("\n").map((line) => line.replace(/^\S+ \S+ /, ""));
}

async function sentAndArchived(id: string): Promise<Sent> {
  const sent = await send(id, lines).done;
  // Agents read five times a second.
  await sleep(2000);
  const { exitCode, stdout, stderr } = await archiveNow();
  expect([exitCode, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("verified and stored");
  return sent;
}

test("B6 every acknowledged line is read from the copy when the cluster is gone, and is on the next one's volume", async ({
  annotate,
}) => {
  const settings = Object.entries(s3.env).filter(([name]) => name.startsWith("RCLONE_CONFIG_S3_"));
  await kubectl(
    ["--namespace", namespace, "create", "secret", "generic", "log-archive-remote"].concat(
      settings.map(([name, value]) => `--from-literal=${name}=${value}`),
    ),
  );
  clone.edit("gitops/apps/logging/base/log-archiver/config.env", (text) =>
    text.replace(/^ARCHIVE_REMOTE=$/m, `ARCHIVE_REMOTE=${remote}`),
  );
  await converged(await clone.push("e2e: a copy of the archives"));
  const before = await sentAndArchived(ids[0]);
  const here = await restored(ids[0]);
  expect(notOnce(here, before)).toEqual([]);

  destroyed = true;
  const gone = await deploy(["destroy"]);
  expect(gone.exitCode, gone.stdout + gone.stderr).toBe(0);
  const verified = await npm("restore", "--", "--from-remote", remote, "--verify");
  expect([verified.exitCode, verified.stdout]).toEqual([0, ""]);
  const listed = await npm("restore", "--", "--from-remote", remote, "--list");
  const archives = listed.stdout.split("\n").length;
  const reading = Date.now();
  expect(notOnce(await inCopy(ids[0]), before)).toEqual([]);
  await annotate(`${archives} archives, read without a cluster in ${secondsSince(reading)} s`);

  const made = await deploy();
  expect(made.exitCode, made.stdout + made.stderr).toBe(0);
  await annotate(`a new platform in ${made.seconds} s`);
  const importing = Date.now();
  const imported = await npm("import", "--", "--from-remote", remote);
  expect([imported.exitCode, imported.stderr]).toEqual([0, ""]);
  expect(imported.stdout.match(/^1 archives stored, 0 were there already$/gm)).toHaveLength(archives);
  await annotate(`imported in ${secondsSince(importing)} s`);
  expect(notOnce(await restored(ids[0]), before)).toEqual([]);
  const again = await npm("import", "--", "--from-remote", remote);
  expect(again.exitCode).toBe(0);
  expect(again.stdout.match(/^0 archives stored, 1 were there already$/gm)).toHaveLength(archives);

  const after = await sentAndArchived(ids[1]);
  expect(notOnce(await restored(ids[1]), after)).toEqual([]);
  expect(notOnce(await restored(ids[0]), before)).toEqual([]);
  const whole = await npm("restore", "--", "--verify");
  expect([whole.exitCode, whole.stdout]).toEqual([0, ""]);
});
