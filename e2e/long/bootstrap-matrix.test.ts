/** E1: `deploy.sh` makes a new platform of nothing, and killed at any moment and started again it ends well. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { execa } from "execa";
import { expect, test } from "vitest";
import { send } from "../app.ts";
import { get, list } from "../kubectl.ts";
import { deploy, exported, repository, secondsSince } from "../platform.ts";

const stages = 11;

/** Starts `deploy.sh` as the head of a process group of its own. */
function start(): { child: ChildProcess; ended: Promise<unknown>; kill(): Promise<void> } {
  const child = spawn("./deploy.sh", [], {
    cwd: repository,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stderr?.resume();
  const ended = once(child, "exit");
  return {
    child,
    ended,
    async kill() {
      // The whole group, as a closed terminal or an out-of-memory killer would.
      if (child.exitCode === null) process.kill(-(child.pid ?? 0), "SIGKILL");
      await ended;
    },
  };
}

/** Runs `deploy.sh` until it says that a stage has ended, and kills it there. */
async function killAfterStage(stage: number): Promise<string> {
  const { child, ended, kill } = start();
  const said: string[] = [];
  if (!child.stdout) throw new Error("deploy.sh has no output");
  for await (const line of createInterface({ input: child.stdout })) {
    said.push(line);
    if (Number(/^\[ ?(\d+)\//.exec(line)?.[1]) === stage) {
      await kill();
      return line;
    }
  }
  await ended;
  throw new Error(`deploy.sh ended before stage ${stage}:\n${said.join("\n")}`);
}

/** Expects `deploy.sh` to end well, and the platform to be whole. */
async function completes(): Promise<number> {
  const run = await deploy();
  expect(run.exitCode, run.stdout + run.stderr).toBe(0);
  expect((await send("/")).status).toBe(200);
  const applications = await list<{ status: { sync: { status: string }; health: { status: string } } }>(
    ...["applications", "--namespace", "argocd"],
  );
  expect(applications.length).toBeGreaterThan(1);
  for (const { status } of applications) {
    expect([status.sync.status, status.health.status]).toEqual(["Synced", "Healthy"]);
  }
  return run.seconds;
}

async function destroyAll(): Promise<void> {
  const run = await deploy(["destroy"]);
  expect(run.exitCode, run.stdout + run.stderr).toBe(0);
}

/** Numbers in [0, 1) that a seed decides: mulberry32. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

test("E1 after destroy it makes a new platform that runs this checkout's commit", async ({ annotate }) => {
  const uid = async (): Promise<string> => (await get("namespace", "kube-system")).metadata.uid;
  const before = await uid();
  await destroyAll();
  await annotate(`it took ${await completes()} s`);
  expect(await uid()).not.toBe(before);
  const { stdout: head } = await execa("git", ["rev-parse", "HEAD"], { cwd: repository });
  const { stdout: theirs } = await execa("git", ["ls-remote", exported("GIT_URL"), "refs/heads/main"]);
  expect(theirs.split("\t")[0]).toBe(head);
});

test("E1 killed after each of its stages, one after the other, it ends well", async ({ annotate }) => {
  await destroyAll();
  for (let stage = 1; stage <= stages; stage++) {
    await annotate(`killed after ${await killAfterStage(stage)}`);
  }
  await annotate(`the last run took ${await completes()} s`);
});

test("E1 killed at random moments within its stages, it ends well", async ({ annotate }) => {
  const seed = Number(process.env.SEED ?? 20_261);
  await annotate(`SEED=${seed}`);
  const next = random(seed);
  await destroyAll();
  for (let round = 1; round <= 5; round++) {
    const started = Date.now();
    const { child, ended, kill } = start();
    let last = "nothing";
    const output = createInterface({ input: child.stdout ?? process.stdin });
    output.on("line", (line) => {
      last = line;
    });
    const seconds = 2 + next() * 60;
    // Ended by itself: the rounds before had done the work.
    await Promise.race([ended, new Promise((done) => setTimeout(done, seconds * 1000))]);
    await kill();
    await annotate(`round ${round}: killed after ${secondsSince(started)} s, after ${last}`);
  }
  await annotate(`the last run took ${await completes()} s`);
});
