import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatFindings } from "../src/finding.ts";
import { type KubernetesObject, parseObjects } from "../src/object.ts";
import { renderArgocd, renderRoot } from "../src/render/argocd.ts";
import { renderObjects } from "../src/render/kustomize.ts";
import { readSource } from "../src/render/source.ts";
import { checkout } from "../src/repository.ts";
import { forbiddenObjects } from "../src/rules/projects.ts";
import { emptySelectors } from "../src/rules/selectors.ts";
import { podTemplate, unconfinedContainers } from "../src/rules/workloads.ts";
import { platformValidator } from "../src/schema/sources.ts";
import type { Validator } from "../src/schema/validator.ts";

// On a fresh machine this is where Go fetches Kubernetes' and Argo CD's sources and compiles kustomize.
const coldStart = 900_000;

const directories = (path: string): string[] =>
  readdirSync(join(checkout, path), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
const clusters = directories("gitops/clusters");
const overlays = directories("gitops/apps").flatMap((app) =>
  directories(`gitops/apps/${app}/overlays`).map((overlay) => `gitops/apps/${app}/overlays/${overlay}`),
);
const installed = directories("bootstrap/argocd/install").filter((name) => name !== "base");
const argocd = (cluster: string): string => `bootstrap/argocd/install/${cluster}`;
const root = (cluster: string): string => `bootstrap/argocd/root/${cluster}`;
const app = (cluster: string): string => `gitops/clusters/${cluster}`;

let validator: Validator;
const rendered = new Map<string, KubernetesObject[]>();
const objects = (directory: string): KubernetesObject[] => rendered.get(directory) ?? [];
const find = (directory: string, kind: string, name: string): KubernetesObject => {
  const found = objects(directory).find((object) => object.kind === kind && object.metadata.name === name);
  if (!found) throw new Error(`${directory} renders no ${kind} named ${name}`);
  return found;
};

beforeAll(async () => {
  validator = await platformValidator(checkout);
  for (const cluster of clusters) {
    rendered.set(app(cluster), await renderObjects(join(checkout, app(cluster))));
    rendered.set(root(cluster), parseObjects(await renderRoot(checkout, cluster)));
  }
  for (const cluster of installed) {
    rendered.set(argocd(cluster), parseObjects(await renderArgocd(checkout, cluster)));
  }
  for (const overlay of overlays) rendered.set(overlay, await renderObjects(join(checkout, overlay)));
}, coldStart);

describe.each([...clusters.flatMap((c) => [app(c), root(c)]), ...installed.map(argocd), ...overlays])(
  "%s",
  (directory) => {
    test("is valid against the schemas", () => {
      expect(objects(directory).length).toBeGreaterThan(0);
      expect(formatFindings(objects(directory).flatMap((object) => validator.check(object)))).toBe("");
    });

    test("leaves nothing for the cluster to fill in", () => {
      expect(JSON.stringify(objects(directory))).not.toContain("set-by-cluster");
    });

    test("has selectors that match", () => {
      expect(formatFindings(emptySelectors(objects(directory)))).toBe("");
    });

    test("confines its containers", () => {
      expect(formatFindings(unconfinedContainers(objects(directory)))).toBe("");
    });

    test("labels every object of its own with a name and what it is part of", () => {
      const unlabelled = objects(directory).filter(({ kind, metadata }) => {
        const labels = metadata.labels ?? {};
        const complete = labels["app.kubernetes.io/name"] && labels["app.kubernetes.io/part-of"];
        return kind !== "CustomResourceDefinition" && !complete;
      });
      expect(unlabelled.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([]);
    });
  },
);

describe.each(clusters)("the Applications of cluster %s", (cluster) => {
  const source = readSource(checkout, cluster);
  const leaves = (): KubernetesObject[] => objects(app(cluster)).filter(({ kind }) => kind === "Application");
  const project = (name: string): KubernetesObject => find(root(cluster), "AppProject", name);

  test("read the one repository and branch, from directories that exist", () => {
    for (const { metadata, spec } of [...leaves(), find(root(cluster), "Application", "root")]) {
      expect(spec.source, metadata.name).toMatchObject({
        repoURL: source.repository,
        targetRevision: source.branch,
      });
      expect(readdirSync(join(checkout, spec.source.path)), metadata.name).toContain("kustomization.yaml");
    }
  });

  test("belong to projects that allow what they render", () => {
    for (const { spec } of leaves()) {
      expect(objects(spec.source.path).length, spec.source.path).toBeGreaterThan(0);
      expect(project(spec.project).spec.sourceRepos).toEqual([source.repository]);
      expect(formatFindings(forbiddenObjects(project(spec.project), objects(spec.source.path)))).toBe("");
    }
  });

  test("are all that the root may create", () => {
    expect(formatFindings(forbiddenObjects(project("root"), objects(app(cluster))))).toBe("");
    expect(project("root").spec.namespaceResourceWhitelist).toEqual([
      { group: "argoproj.io", kind: "Application" },
    ]);
    expect(project("root").spec.clusterResourceWhitelist).toEqual([]);
  });

  test("are alike: pruned, healed, retried with the newest commit, and deleted with what they made", () => {
    for (const { metadata, spec } of leaves()) {
      expect(metadata.finalizers, metadata.name).toEqual(["resources-finalizer.argocd.argoproj.io"]);
      expect(spec.syncPolicy, metadata.name).toEqual(
        find(root(cluster), "Application", "root").spec.syncPolicy,
      );
      expect(spec.syncPolicy, metadata.name).toMatchObject({
        automated: { prune: true, selfHeal: true },
        retry: { refresh: true },
      });
    }
  });

  test("outlive the root, which has no finalizer", () => {
    expect(find(root(cluster), "Application", "root").metadata.finalizers).toBeUndefined();
  });

  test("do nothing without a project", () => {
    expect(project("default").spec).toMatchObject({
      sourceRepos: [],
      destinations: [],
      clusterResourceWhitelist: [],
      namespaceResourceWhitelist: [],
    });
  });
});

describe("the logging app", () => {
  const copy = mkdtempSync(join(tmpdir(), "gitops-"));
  const overlay = "gitops/apps/logging/overlays/local";
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
    const workload = changed.find(({ kind }) => kind === "Deployment");
    const ports = workload ? podTemplate(workload).spec.containers[0]?.ports : [];
    expect(ports).toContainEqual({ name, containerPort: port });
    expect(JSON.stringify(changed)).not.toContain(from.split("=")[1]);
    expect(changed.flatMap((object) => validator.check(object))).toEqual([]);
    expect(emptySelectors(changed)).toEqual([]);
  });

  test("rolls out when its configuration changes", async () => {
    const changed = await renderWith("GREETING=Welcome", "GREETING=Good day, welcome");
    const after = changed.find(({ kind }) => kind === "Deployment");
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
