/** E3 and B2: what is pushed is what runs, whatever happens in between. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../lib/failure.ts";
import { slow } from "../lib/test/long.ts";
import { deployment, namespace, type Pod, pods, send } from "./app.ts";
import { application, cloneOfConverged, converged, endClone, rollout } from "./applications.ts";
import type { Clone } from "./clone.ts";
import { get, kubectl } from "./kubectl.ts";
import { gitops, secondsSince } from "./platform.ts";
import { steadyRequests } from "./steady.ts";

const config = "gitops/apps/logging/base/app/config.env";
const kustomization = "gitops/apps/logging/base/app/kustomization.yaml";
const service = "gitops/apps/logging/base/app/service.yaml";

let clone: Clone;

beforeAll(async () => {
  clone = await cloneOfConverged();
});

afterAll(() => endClone(clone));

/** Waits until the app greets so, again and again, as every pod must. */
async function greets(greeting: string): Promise<void> {
  let alike = 0;
  await until(`greeting "${greeting}"`, 180, async () => {
    for (alike = 0; alike < 12; alike++) {
      const { body } = await send("/");
      if (body !== greeting) return `answered "${body}"`;
    }
    return undefined;
  });
}

const names = (pods: Pod[]): string[] => pods.map(({ metadata }) => metadata.name);
const setting = (key: string, value: string) => (text: string) =>
  text.replace(new RegExp(`^${key}=.*$`, "m"), `${key}=${value}`);

let greetingCommit: string;
let oldGreeting: string;

const exists = async (): Promise<boolean> =>
  (await kubectl(["-n", namespace, "get", "configmap", "e2e", "--ignore-not-found", "-o", "name"])) !== "";

test("E3 B2 a pushed greeting is answered by new pods, a pushed file is applied, and no request is lost", async ({
  annotate,
}) => {
  const before = names(await pods());
  oldGreeting = (await send("/")).body;
  const greeting = `Welcome to commit ${Date.now()}`;
  const requests = steadyRequests();
  expect(await exists()).toBe(false);
  clone.write(
    "gitops/apps/logging/base/app/e2e.yaml",
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: e2e\ndata:\n  pushed: by a test\n",
  );
  clone.edit(kustomization, (text) => text.replace("  - service.yaml\n", "  - service.yaml\n  - e2e.yaml\n"));
  clone.edit(config, setting("GREETING", greeting));
  greetingCommit = await clone.push("e2e: another greeting, and another file");
  const pushed = Date.now();
  await until("ConfigMap e2e", 120, async () => ((await exists()) ? undefined : "does not exist"));
  await annotate(`a file applied ${secondsSince(pushed)} s after the push`);
  await until("the new greeting", 180, async () => {
    const { body } = await send("/");
    return body === greeting ? undefined : `answered "${body}"`;
  });
  await annotate(`first answered ${secondsSince(pushed)} s after the push`);
  await converged(greetingCommit);
  await annotate(`rolled out ${secondsSince(pushed)} s after the push`);
  await greets(greeting);
  expect(names(await pods()).filter((name) => before.includes(name))).toEqual([]);
  expect(await requests.stop()).toEqual([]);
});

test("E3 a manual scale is healed", async ({ annotate }) => {
  await kubectl(["-n", namespace, "scale", "deployment/app", "--replicas=1"]);
  const scaled = Date.now();
  await until("3 replicas", 120, rollout);
  await annotate(`${secondsSince(scaled)} s`);
});

/** Edits the Deployment by hand; returns after how many seconds it is as in Git. */
async function healed(...edit: string[]): Promise<number> {
  const before = await deployment();
  await kubectl(["-n", namespace, ...edit]);
  const edited = Date.now();
  await until("the Deployment as in Git", 120, async () => {
    const { metadata, spec } = await deployment();
    if (metadata.resourceVersion === before.metadata.resourceVersion) return "not edited";
    const [now, then] = [
      [metadata.labels, spec],
      [before.metadata.labels, before.spec],
    ].map((content) => JSON.stringify(content));
    return now === then ? rollout() : "differs from Git";
  });
  return secondsSince(edited);
}

// Argo CD heals the same commit's Application later each time, so the revert comes between what is edited.
test("E3 a manual edit of a label is healed", async ({ annotate }) => {
  const label = "app.kubernetes.io/part-of=mine";
  await annotate(`${await healed("label", "deployment/app", label, "--overwrite")} s`);
});

test("E3 git revert rolls the greeting back, and removes the file", async ({ annotate }) => {
  expect((await send("/")).body).not.toBe(oldGreeting);
  await clone.git("revert", "--no-edit", greetingCommit);
  const commit = await clone.pushHead();
  const pushed = Date.now();
  await until("ConfigMap e2e", 120, async () => ((await exists()) ? "still exists" : undefined));
  await annotate(`the file removed ${secondsSince(pushed)} s after the push`);
  await converged(commit);
  await annotate(`rolled back ${secondsSince(pushed)} s after the push`);
  await greets(oldGreeting);
});

test("E3 a manual edit of the image is healed", async ({ annotate }) => {
  await annotate(
    `${await healed("set", "image", "deployment/app", "app=docker.io/library/busybox:stable")} s`,
  );
});

test("E3 a manual edit of the limit is healed", slow, async ({ annotate }) => {
  await annotate(`${await healed("set", "resources", "deployment/app", "--limits=memory=128Mi")} s`);
});

/** Deletes an object by hand; returns after how many seconds another one is in its place. */
async function comesBack(kind: "configmap" | "service"): Promise<number> {
  const { volumes } = (await deployment()).spec.template.spec;
  const mounted = volumes.find(({ configMap }) => configMap)?.configMap?.name ?? "";
  const name = kind === "configmap" ? mounted : "app-service";
  const { metadata } = await get(kind, name, "--namespace", namespace);
  await kubectl(["-n", namespace, "delete", kind, name]);
  const deleted = Date.now();
  await until(`${kind} ${name}`, 120, async () => {
    const now = await get(kind, name, "--namespace", namespace);
    return now.metadata.uid === metadata.uid ? "not deleted" : undefined;
  });
  const seconds = secondsSince(deleted);
  // Each gateway takes a Service that is made anew for another one.
  let answered = 0;
  await until("the gateways", 60, async () => {
    answered = (await send("/")).status === 200 ? answered + 1 : 0;
    return answered < 20 ? `${answered} answers one after the other` : undefined;
  });
  return seconds;
}

test("E3 a deleted service comes back", async ({ annotate }) => {
  await annotate(`${await comesBack("service")} s`);
});

test("E3 a deleted configmap comes back", slow, async ({ annotate }) => {
  await annotate(`${await comesBack("configmap")} s`);
});

/** Takes the last commit back, and waits until the platform runs the result without any help. */
async function recover(): Promise<number> {
  await clone.git("revert", "--no-edit", "HEAD");
  const commit = await clone.pushHead();
  const pushed = Date.now();
  await converged(commit);
  return secondsSince(pushed);
}

/** Runs the product's `wait` on a commit with a short deadline. */
const wait = (commit: string, seconds: number): ReturnType<typeof gitops> =>
  gitops("wait", commit, "--seconds", String(seconds));

test("E2 E3 a commit that breaks the app: the old pods answer, wait names pod and reason, a good commit recovers", async ({
  annotate,
}) => {
  const old = names(await pods());
  const requests = steadyRequests();
  clone.edit(config, setting("LOG_LEVEL", "loud"));
  const commit = await clone.push("e2e: a level that the app refuses");
  let said = "";
  await until("the word of wait", 180, async () => {
    const { exitCode, stderr } = await wait(commit, 5);
    expect(exitCode).toBe(1);
    said = stderr;
    return /Pod logging\/app-\S+, container app: (CrashLoopBackOff|ended with Error \(exit 78\))/.test(said)
      ? undefined
      : said;
  });
  await annotate(said.trim());
  expect(said).toMatch(/next: kubectl \S/);
  const { status } = await application("logging");
  expect(status.sync.revision).toBe(commit);
  expect(status.health.status).not.toBe("Healthy");
  expect(names(await pods())).toEqual(expect.arrayContaining(old));
  await annotate(`recovered ${await recover()} s after the push of a good commit`);
  expect((await wait(await clone.git("rev-parse", "HEAD"), 60)).exitCode).toBe(0);
  expect(await requests.stop()).toEqual([]);
});

test("E3 a commit that the API server refuses, then a good one", slow, async ({ annotate }) => {
  const requests = steadyRequests();
  clone.edit(service, (text) => text.replace("port: 80\n", "port: 99999\n"));
  const commit = await clone.push("e2e: a port that does not exist");
  await until("the sync that fails", 120, async () => {
    const { status } = await application("logging");
    const { message = "" } = status.operationState ?? {};
    if (status.sync.revision !== commit) return `is at ${status.sync.revision}`;
    return /99999/.test(message) ? undefined : message;
  });
  await annotate(`recovered ${await recover()} s after the push of a good commit`);
  expect(await requests.stop()).toEqual([]);
});

test("E3 a commit that is no YAML, then a good one", slow, async ({ annotate }) => {
  const requests = steadyRequests();
  clone.edit(service, (text) => `${text}  : [no yaml\n`);
  await clone.push("e2e: no YAML");
  await until("ComparisonError", 120, async () => {
    const { status } = await application("logging");
    const types = (status.conditions ?? []).map(({ type }) => type);
    return types.includes("ComparisonError") ? undefined : `conditions: ${types.join(" ")}`;
  });
  await annotate(`recovered ${await recover()} s after the push of a good commit`);
  expect(await requests.stop()).toEqual([]);
});
