/** E4: a service released by one command, a broken image named by `wait`, and the way back. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../lib/failure.ts";
import { slow } from "../lib/test/long.ts";
import { pods, send } from "./app.ts";
import { Clone } from "./clone.ts";
import { gitops, secondsSince } from "./platform.ts";

const kustomization = "gitops/apps/logging/base/app/kustomization.yaml";
const source = "services/app/src/main.ts";

let clone: Clone;

beforeAll(async () => {
  clone = await Clone.make();
  expect((await gitops("wait", clone.found)).exitCode).toBe(0);
});

afterAll(async () => {
  try {
    const commit = await clone.putBack();
    if (commit !== undefined) expect((await gitops("wait", commit)).exitCode).toBe(0);
  } finally {
    clone.remove();
  }
});

/** Runs a command of the tool on the clone, followed to running pods. */
const inClone = (...args: string[]): ReturnType<typeof gitops> =>
  gitops(...args, "--directory", clone.directory, "--remote", "origin", "--push", "--wait");

const images = async (): Promise<string[]> => {
  const running = (await pods()) as unknown as { spec: { containers: { name: string; image: string }[] } }[];
  return running.map(({ spec }) => spec.containers.find(({ name }) => name === "app")?.image ?? "");
};

const tagOf = async (revision: string): Promise<string> =>
  (await clone.git("rev-parse", `${revision}:services/app`)).slice(0, 12);

let first: string;
let second: string;
let release: Promise<Awaited<ReturnType<typeof gitops>>> | undefined;

/** Changes the sources and releases them, the first time that a test asks for it. */
const released = (): Promise<Awaited<ReturnType<typeof gitops>>> => {
  release ??= (async () => {
    first = await tagOf("HEAD");
    clone.edit(source, (text) => `${text}\n// Changed by a test at ${new Date().toISOString()}.\n`);
    await clone.git("commit", "--quiet", "--all", "--message", "e2e: other sources, the same service");
    second = await tagOf("HEAD");
    return inClone("release", "app");
  })();
  return release;
};

test("E4 a change of the sources and one command: the pods run the new image", async ({ annotate }) => {
  const started = Date.now();
  const { exitCode, stdout, stderr } = await released();
  expect(exitCode, stderr).toBe(0);
  await annotate(`released in ${secondsSince(started)} s: ${stdout.trim()}`);
  expect(stdout).toContain(`deploy(app): ${second}`);
  expect(await images()).toEqual(Array(3).fill(`docker.io/logging-platform/app:${second}`));
  expect((await send("/status")).status).toBe(200);
  const message = await clone.git("log", "-1", "--format=%B");
  expect(message).toMatch(new RegExp(`^Image: docker\\.io/logging-platform/app:${second}$`, "m"));
  expect(message).toMatch(new RegExp(`^Source-Commit: ${await clone.git("rev-parse", "HEAD~1")}$`, "m"));
});

test("E4 releasing again changes nothing", slow, async () => {
  await released();
  const head = await clone.git("rev-parse", "HEAD");
  const { exitCode, stdout, stderr } = await inClone("release", "app");
  expect(exitCode, stderr).toBe(0);
  expect(stdout).toContain(`app is already at ${second}`);
  expect(await clone.git("rev-parse", "HEAD")).toBe(head);
});

test("E4 wait on a commit with a broken image names the pod and its reason", slow, async ({ annotate }) => {
  await released();
  clone.edit(kustomization, (text) => text.replace(second, "feedfeedfeed"));
  const commit = await clone.push("e2e: an image that does not exist");
  let said = "";
  await until("the word of wait", 180, async () => {
    const { exitCode, stderr } = await gitops("wait", commit, "--seconds", "5");
    expect(exitCode).toBe(1);
    said = stderr;
    return /Pod logging\/app-\S+, container app: (ErrImagePull|ImagePullBackOff)/.test(said)
      ? undefined
      : said;
  });
  await annotate(said.trim());
  expect(said).toMatch(/next: kubectl \S/);
  // The old pods go on.
  expect((await send("/status")).status).toBe(200);
});

test("E4 a rollback restores the image before", slow, async ({ annotate }) => {
  const started = Date.now();
  const { exitCode, stderr } = await inClone("rollback", "app");
  expect(exitCode, stderr).toBe(0);
  await annotate(`from the broken image in ${secondsSince(started)} s`);
  expect(await images()).toEqual(Array(3).fill(`docker.io/logging-platform/app:${second}`));
});

test("E4 a rollback to a named tag restores the sources of then", async ({ annotate }) => {
  await released();
  const started = Date.now();
  const { exitCode, stderr } = await inClone("rollback", "app", "--to", first);
  expect(exitCode, stderr).toBe(0);
  await annotate(`to ${first} in ${secondsSince(started)} s`);
  expect(await images()).toEqual(Array(3).fill(`docker.io/logging-platform/app:${first}`));
  expect((await clone.git("log", "-1", "--format=%B")).includes(`Rolled-Back: ${second}`)).toBe(true);
});
