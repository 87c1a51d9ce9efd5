import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type KubernetesObject, parseObjects } from "../../lib/object.ts";
import { renderObjects } from "../../lib/render/kustomize.ts";
import { renderRoot } from "../../lib/render/start.ts";
import { checkout } from "../../lib/repository.ts";
import type { Container } from "../src/rules/pods.ts";

// What only this platform promises of its manifests; what every repository must keep to is in the corpus.
const coldStart = 900_000;
const clusters = readdirSync(join(checkout, "gitops/clusters"));
const overlay = "gitops/apps/logging/overlays/local";
const rootOf = (cluster: string): string => `bootstrap/argocd/root/${cluster}`;

const rendered = new Map<string, KubernetesObject[]>();
const objects = (directory: string): KubernetesObject[] => rendered.get(directory) ?? [];
const find = (directory: string, kind: string, name: string): KubernetesObject => {
  const found = objects(directory).find((object) => object.kind === kind && object.metadata.name === name);
  if (!found) throw new Error(`${directory} renders no ${kind} named ${name}`);
  return found;
};

beforeAll(async () => {
  for (const cluster of clusters)
    rendered.set(rootOf(cluster), parseObjects(await renderRoot(checkout, cluster)));
  rendered.set(overlay, await renderObjects(join(checkout, overlay)));
}, coldStart);

test.each(clusters)("the root of cluster %s has AppProjects that confine it", (cluster) => {
  const root = objects(rootOf(cluster)).find(
    ({ kind, metadata }) => kind === "AppProject" && metadata.name === "root",
  );
  expect(root?.spec.namespaceResourceWhitelist).toEqual([{ group: "argoproj.io", kind: "Application" }]);
  expect(root?.spec.clusterResourceWhitelist).toEqual([]);
});

describe("the logging app", () => {
  const copy = mkdtempSync(join(tmpdir(), "gitops-"));
  const deployment = (): KubernetesObject => find(overlay, "Deployment", "app");

  afterAll(() => rmSync(copy, { recursive: true, force: true }));

  async function renderWith(from: string, to: string): Promise<KubernetesObject[]> {
    cpSync(join(checkout, "gitops/apps/logging"), copy, { recursive: true });
    const file = join(copy, "base/app/config.env");
    const text = readFileSync(file, "utf8");
    expect(text).toContain(from);
    writeFileSync(file, text.replace(from, to));
    return renderObjects(join(copy, "overlays/local"));
  }

  test.each([
    ["PORT=8080", "PORT=8181", "http", 8181],
    ["METRICS_PORT=9090", "METRICS_PORT=9191", "metrics", 9191],
  ])("takes %s from one place", async (from, to, name, port) => {
    const changed = await renderWith(`\n${from}\n`, `\n${to}\n`);
    const workload = changed.find(({ kind, metadata }) => kind === "Deployment" && metadata.name === "app");
    const containers = workload?.spec.template.spec.containers as Container[];
    expect(containers.find((container) => container.name === "app")?.ports).toContainEqual({
      name,
      containerPort: port,
    });
    // Its neighbours have ports of their own.
    const own = changed.filter(({ metadata }) => metadata.labels?.["app.kubernetes.io/name"] === "app");
    expect(own.length).toBeGreaterThan(5);
    expect(JSON.stringify(own)).not.toContain(from.split("=")[1]);
  });

  test("rolls out when its configuration changes", async () => {
    const changed = await renderWith("GREETING=Welcome", "GREETING=Good day, welcome");
    const after = changed.find(({ kind, metadata }) => kind === "Deployment" && metadata.name === "app");
    expect(after?.spec.template).not.toEqual(deployment().spec.template);
    const volume = after?.spec.template.spec.volumes.find(({ name }: { name: string }) => name === "config");
    const generated = changed.find(({ metadata }) => metadata.name === volume.configMap.name);
    expect(generated?.data.GREETING).toBe("Good day, welcome to the custom app");
  });

  test("has three replicas with logs of their own", () => {
    expect(deployment().spec.replicas).toBe(3);
    const { containers, volumes } = deployment().spec.template.spec;
    expect(containers[0].volumeMounts).toContainEqual({ name: "logs", mountPath: "/app/logs" });
    expect(volumes).toContainEqual({ name: "logs", emptyDir: { sizeLimit: expect.any(String) } });
  });

  test("runs only an image of its own sources", () => {
    const [container] = deployment().spec.template.spec.containers;
    expect(container.image).toMatch(/^docker\.io\/logging-platform\/app:[0-9a-f]{12}$/);
  });
});
