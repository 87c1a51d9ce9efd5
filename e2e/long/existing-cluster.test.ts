/** `./deploy.sh --context`: the embedded cluster taken as an existing cluster, with what can be had without the internet. */
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { send } from "../app.ts";
import { apply, kubectl } from "../kubectl.ts";
import { repository } from "../platform.ts";

const door = "e2e-preflight";
let target: string[];

beforeAll(async () => {
  const repoURL = "jsonpath={.spec.source.repoURL}";
  const url = await kubectl(["-n", "argocd", "get", "application", "root", "-o", repoURL]);
  target = ["--context", "embedded", "--cluster", "embedded", "--keep-istio", "--repo", url];
  target.push("--registry", "docker.io/logging-platform");
  // On the embedded cluster, Argo CD alone reaches the Git server. Elsewhere a repository is reached from any pod.
  const preflight = {
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "platform-preflight" } },
  };
  await apply({
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: door, namespace: "git" },
    spec: { podSelector: {}, policyTypes: ["Ingress"], ingress: [{ from: [preflight] }] },
  });
});

afterAll(() => kubectl(["--namespace", "git", "delete", "networkpolicy", door, "--ignore-not-found"]));

const deploy = (...args: string[]) =>
  execa("./deploy.sh", [...args, ...target], { cwd: repository, all: true, reject: false });

interface Status {
  status: { sync: { status: string }; health: { status: string } };
}

test("doctor finds that the cluster will do", async () => {
  const { all } = await deploy("doctor");
  const checks = all.split("\n").filter((line) => /^(ok|wrong) /.test(line));
  expect(checks.length).toBeGreaterThan(12);
  // What stands in the checkout is not the cluster's doing.
  expect(checks.filter((line) => /^wrong (?!uncommitted|unpushed)/.test(line))).toEqual([]);
});

test("deploys on the context, and changes nothing where all is as it should be", async ({ annotate }) => {
  const names = async (): Promise<string> => {
    const kinds = "applications.argoproj.io,deployments.apps,daemonsets.apps,statefulsets.apps,pods";
    const options = ["--all-namespaces", "--selector", "!batch.kubernetes.io/job-name", "--output", "name"];
    const found = await kubectl(["get", kinds, ...options]);
    // The pre-flight's own pod is there for some seconds more.
    return found
      .split("\n")
      .filter((name) => name !== "pod/preflight")
      .sort()
      .join("\n");
  };
  const before = await names();
  const started = Date.now();
  const { exitCode, all } = await deploy("bootstrap");
  expect([exitCode, all]).toEqual([0, expect.stringMatching(/^The platform runs commit /m)]);
  await annotate(`${Math.round((Date.now() - started) / 1000)} s`);
  expect(await names()).toBe(before);
  expect((await send("/status")).status).toBe(200);
});

test("brings Argo CD and the Applications back that somebody deleted", async ({ annotate }) => {
  await kubectl(["--namespace", "argocd", "delete", "deployment", "argocd-repo-server"]);
  await kubectl(["--namespace", "argocd", "delete", "application", "root", "--cascade=orphan"]);
  const started = Date.now();
  const { exitCode, all } = await deploy("bootstrap");
  expect([exitCode, all]).toEqual([0, expect.anything()]);
  await annotate(`${Math.round((Date.now() - started) / 1000)} s`);
  const root = JSON.parse(
    await kubectl(["-n", "argocd", "get", "application", "root", "-o", "json"]),
  ) as Status;
  expect(root.status).toMatchObject({ sync: { status: "Synced" }, health: { status: "Healthy" } });
});
