/** E1: a platform of an earlier commit becomes this one by `git pull` and `./deploy.sh`, with its data and its history. */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Git } from "../../lib/git/git.ts";
import { get, list } from "../kubectl.ts";
import { archiveNow, notOnce, restored, send } from "../lines.ts";
import { deploy, exported, repository, secondsSince } from "../platform.ts";
import { steadyRequests } from "../steady.ts";

// The last commit before each stage was written once.
const earlier = process.env.UPGRADE_FROM ?? "4ab5478";
const id = randomUUID();
const directory = mkdtempSync(join(tmpdir(), "e2e-upgrade-"));
const git = new Git(directory);

/** Runs `./deploy.sh` of the person's clone. */
async function deployClone(...args: string[]): Promise<{ seconds: number; said: string }> {
  const started = Date.now();
  const { exitCode, all } = await execa("./deploy.sh", args, {
    cwd: directory,
    all: true,
    reject: false,
    stdin: "ignore",
    // Of the shell that has this platform's `env`: the registry of an earlier one took it for a setting of its own.
    env: { REGISTRY_AUTH_FILE: undefined },
  });
  expect(exitCode, all).toBe(0);
  return { seconds: secondsSince(started), said: all };
}

beforeAll(async () => {
  await git.run("clone", "--quiet", repository, ".");
  await git.run("checkout", "--quiet", "-B", "main", earlier);
  const { exitCode, stdout, stderr } = await deploy(["destroy"]);
  expect(exitCode, stdout + stderr).toBe(0);
});

afterAll(async () => {
  rmSync(directory, { recursive: true, force: true });
  // The checkout has the remote of the platform again.
  await deploy();
});

const uid = async (...object: string[]): Promise<string> => (await get(...object)).metadata.uid;
const volumes = async (): Promise<string[]> =>
  (await list("persistentvolumes")).map(({ metadata }) => `${metadata.name} ${metadata.uid}`).sort();

test("E1 an earlier commit's platform is brought to this one by git pull and deploy.sh", async ({
  annotate,
}) => {
  const { seconds } = await deployClone();
  await annotate(`the earlier platform (${earlier}) in ${seconds} s`);
  const before = await send(id, 500).done;
  const archive = await archiveNow();
  expect([archive.exitCode, archive.stderr]).toEqual([0, ""]);
  const late = await send(`${id}-late`, 200).done;
  const cluster = await uid("namespace", "kube-system");
  const kept = await volumes();
  const theirs = (await git.run("ls-remote", exported("GIT_URL"), "refs/heads/main")).split("\t")[0] ?? "";
  expect(theirs.startsWith(earlier.slice(0, 8))).toBe(true);

  await git.run("pull", "--quiet", "--ff-only", "origin", "HEAD");
  const head = await new Git(repository).run("rev-parse", "HEAD");
  expect(await git.run("rev-parse", "HEAD")).toBe(head);
  const requests = steadyRequests();
  const upgrade = await deployClone();
  const failed = await requests.stop();
  await annotate(`this commit in ${upgrade.seconds} s; ${failed.length} requests failed meanwhile`);
  await annotate(failed.slice(0, 20).join("\n") || "none failed");

  expect(await uid("namespace", "kube-system")).toBe(cluster);
  expect(await volumes()).toEqual(kept);
  const now = (await git.run("ls-remote", exported("GIT_URL"), "refs/heads/main")).split("\t")[0];
  expect(now).toBe(head);
  expect(await git.isAncestor(theirs, head)).toBe(true);
  const again = await archiveNow();
  expect([again.exitCode, again.stderr]).toEqual([0, ""]);
  expect(notOnce(await restored(`${id} `), before)).toEqual([]);
  expect(notOnce(await restored(`${id}-late`), late)).toEqual([]);
  // A component that is replaced restarts: the load balancer and the API server go for a moment, the app does not.
  const statuses = failed.filter((line) => !/ECONNREFUSED|ECONNRESET|socket hang up/.test(line));
  expect(statuses).toEqual([]);
});
