/** E1 and E2: the life of the whole platform, to its end. Runs last. */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { afterAll, beforeAll, beforeEach, describe, expect, type TestContext, test } from "vitest";
import { until } from "../lib/failure.ts";
import { follow } from "../lib/test/follow.ts";
import { slow } from "../lib/test/long.ts";
import { linesWith, post, send } from "./app.ts";
import { evidence, somethingFailed } from "./evidence.ts";
import { identity } from "./identity.ts";
import { type KubernetesObject, kubectl, list, secret } from "./kubectl.ts";
import { cacheDirectory, cgroupProcesses, platformListeners, stateDirectory, traces } from "./machine.ts";
import { deploy, exported, type Run, repository } from "./platform.ts";

// Long enough for a bootstrap on a busy machine; what it took is printed.
const bootstrapMs = 900_000;

/** Runs deploy.sh, prints its seconds and expects success, with its words where there is none. */
async function deployWell({ annotate }: TestContext, ...args: string[]): Promise<Run> {
  const run = await deploy(args);
  await annotate(`./deploy.sh ${args.join(" ")} took ${run.seconds} s`);
  expect(run.exitCode, run.stdout + run.stderr).toBe(0);
  return run;
}

/** The commits of the platform's main branch, newest first, as a fresh clone sees them. */
async function history(): Promise<string[]> {
  const answer = await execa("git", ["ls-remote", exported("GIT_URL"), "refs/heads/main"]);
  await execa("git", ["fetch", "--quiet", exported("GIT_URL"), "main"], { cwd: repository });
  const { stdout } = await execa("git", ["rev-list", answer.stdout.split("\t")[0] ?? ""], {
    cwd: repository,
  });
  return stdout.split("\n");
}

/** What makes this platform the one it is, whatever processes run it. */
const whole = async (): Promise<object> => ({ ...(await identity()), history: await history() });

/** Everything that a run which changes nothing leaves alone, one entry per object. */
async function everything(): Promise<string[]> {
  const kinds =
    "deployments,statefulsets,daemonsets,services,configmaps,secrets,serviceaccounts,persistentvolumeclaims,customresourcedefinitions,appprojects";
  // istiod elects its leaders by renewing ConfigMaps.
  const elects = ({ metadata }: KubernetesObject): boolean =>
    "control-plane.alpha.kubernetes.io/leader" in (metadata.annotations ?? {});
  const objects = (await list(kinds, "--all-namespaces"))
    .filter((object) => !elects(object))
    .map(
      ({ kind, metadata }) =>
        `${kind} ${metadata.namespace ?? ""}/${metadata.name} ${metadata.uid} ${metadata.resourceVersion}`,
    );
  // Argo CD keeps the status of an Application in the same version as its spec.
  const applications = (await list<KubernetesObject & { spec: object }>("applications", "-n", "argocd")).map(
    ({ metadata, spec }) => `Application ${metadata.name} ${metadata.uid} ${JSON.stringify(spec)}`,
  );
  const all = await list<KubernetesObject & { status: { containerStatuses?: { restartCount: number }[] } }>(
    "pods",
    "--all-namespaces",
  );
  // The archiver's runs come and go by the clock.
  const lasting = all.filter(({ metadata }) => !("batch.kubernetes.io/job-name" in (metadata.labels ?? {})));
  const pods = lasting.map(({ metadata, status }) => {
    const restarts = status.containerStatuses?.map(({ restartCount }) => restartCount);
    return `Pod ${metadata.namespace}/${metadata.name} ${metadata.uid} ${restarts}`;
  });
  return [...objects, ...applications, ...pods].sort();
}

/** The state of everything once it has come to rest. */
async function atRest(): Promise<string[]> {
  let before: string[] = [];
  await until("the cluster at rest", 180, async () => {
    const now = await everything();
    const moved = now.find((entry) => !before.includes(entry));
    before = now;
    if (moved === undefined) return undefined;
    await sleep(5000);
    return `still moving: ${moved}`;
  });
  return before;
}

describe("a run on a running platform", () => {
  test("E1 a second run changes nothing", { timeout: bootstrapMs }, async (context) => {
    const [before, commits] = [await atRest(), await history()];
    const { password = "" } = await secret("argocd", "argocd-initial-admin-secret");
    const { stdout, stderr } = await deployWell(context);
    expect(await everything()).toEqual(before);
    expect(await history()).toEqual(commits);
    const head = (await execa("git", ["rev-parse", "HEAD"], { cwd: repository })).stdout;
    if (head !== commits[0]) expect(stderr).toMatch(/the platform is \d+ commits ahead of this checkout/);
    expect(password).not.toBe("");
    expect((stdout + stderr).includes(password), "the admin password is printed").toBe(false);
  });

  test("E1 --dry-run says what it would do and does nothing", async () => {
    // Processes come and go by themselves.
    const things = async (): Promise<string[]> =>
      (await traces()).filter((trace) => !trace.startsWith("process "));
    const before = [await everything(), await things()];
    const run = await deploy(["--dry-run"]);
    expect(run).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/check the cluster that runs/) });
    const destroy = await deploy(["destroy", "--dry-run"]);
    expect(destroy).toMatchObject({ exitCode: 0, stdout: expect.stringContaining(stateDirectory) });
    expect([await everything(), await things()]).toEqual(before);
  });

  test("E1 --help helps, and an unknown argument is refused with the next command", async () => {
    expect(await deploy(["--help"])).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^Usage:/) });
    expect(await deploy(["--no-such-option"])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(/unknown argument: --no-such-option\nnext: \S/),
    });
  });
});

describe("a component that fails", slow, () => {
  const cordon = (verb: "cordon" | "uncordon"): Promise<string> =>
    kubectl([verb, "--selector", "kubernetes.io/os=linux"]);

  afterAll(async () => {
    await cordon("uncordon");
  });

  test("E2 is named with its condition and the next command", { timeout: bootstrapMs }, async ({
    annotate,
  }) => {
    await cordon("cordon");
    await kubectl(["-n", "kube-system", "delete", "pods", "--selector", "app.kubernetes.io/name=coredns"]);
    const run = await deploy([], { WAIT_SECONDS: "15" });
    await annotate(run.stderr.trim());
    expect(run.exitCode).toBe(1);
    expect(run.stderr).toMatch(/deployment kube-system\/coredns: 0\/\d+ ready/);
    expect(run.stderr).toMatch(/Pod kube-system\/coredns-\S+ is not scheduled: .*unschedulable/);
    const [, next] =
      /next: (\S+\/kubectl --kubeconfig \S+ -n kube-system describe deployment\/coredns.*)/.exec(
        run.stderr,
      ) ?? [];
    // In a shell that knows nothing of this cluster.
    const shell = { env: { KUBECONFIG: undefined, PATH: "/usr/bin:/bin" } };
    expect(await follow(next, shell)).toMatchObject({ exitCode: 0 });
  });

  test("E2 and the next run goes well once it can", { timeout: bootstrapMs }, async (context) => {
    await cordon("uncordon");
    await deployWell(context);
    expect((await send("/status")).status).toBe(200);
  });
});

describe("every process killed", slow, () => {
  test("E1 ./deploy.sh brings the same cluster back with its data", {
    timeout: bootstrapMs,
  }, async (context) => {
    const before = await whole();
    const message = randomUUID();
    expect((await post(message)).status).toBe(200);
    let killed = 0;
    // Again until none is left: what starts others may do so while it is being killed.
    await until("the processes of the platform", 60, async () => {
      const ids = cgroupProcesses();
      for (const id of ids) {
        try {
          process.kill(id, "SIGKILL");
          killed++;
        } catch {
          // Gone already.
        }
      }
      return ids.length === 0 ? undefined : `${ids.length} are left`;
    });
    await context.annotate(`${killed} processes killed`);
    expect(killed).toBeGreaterThan(20);
    await expect(send("/")).rejects.toThrow(/ECONNREFUSED/);
    await deployWell(context);
    expect(await whole()).toEqual(before);
    expect((await send("/status")).status).toBe(200);
    await until("the line posted before", 120, async () => {
      const found = [...(await linesWith(message)).values()].flat();
      return found.length === 1 ? undefined : `${found.length} files have it`;
    });
  });
});

// `npm run e2e:repeat` goes on with the same platform.
const unlessItStays = process.env.E2E_STAYS ? (): void => undefined : describe;

unlessItStays("the end", () => {
  let ports: string[];

  beforeEach((context) => {
    if (somethingFailed()) context.skip(`an earlier test failed: its evidence is in ${evidence()}`);
  });

  beforeAll(async () => {
    ports = (await platformListeners()).map((listener) => listener.split(" ")[2] ?? "");
  });

  test("E1 ./deploy.sh destroy leaves nothing but the build cache", {
    timeout: bootstrapMs,
  }, async (context) => {
    expect(await traces()).not.toEqual([]);
    await deployWell(context, "destroy");
    expect(await traces()).toEqual([]);
    expect(ports).not.toEqual([]);
    const { stdout } = await execa("ss", ["--no-header", "--listening", "--tcp", "--udp", "--numeric"]);
    const listening = stdout.split("\n").map((line) => line.split(/\s+/)[4] ?? "");
    expect(listening.filter((address) => ports.includes(address))).toEqual([]);
    expect(existsSync(cacheDirectory)).toBe(true);
    expect((await deploy(["destroy", "--dry-run"])).stdout).toBe("");
  });

  test("E1 a second destroy has nothing to do", { timeout: bootstrapMs }, async (context) => {
    await deployWell(context, "destroy");
    expect(await traces()).toEqual([]);
  });
});
