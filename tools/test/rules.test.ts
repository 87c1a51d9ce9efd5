import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { formatFindings } from "../src/finding.ts";
import { sourceTag } from "../src/git/source-tag.ts";
import type { KubernetesObject } from "../src/object.ts";
import { readRepository } from "../src/repository.ts";
import { wrongTag } from "../src/rules/image-tag.ts";
import { forbiddenObjects } from "../src/rules/projects.ts";
import { unlistedFiles } from "../src/rules/reachability.ts";
import { emptySelectors } from "../src/rules/selectors.ts";
import { copiesOf } from "../src/rules/single-place.ts";
import { unconfinedContainers } from "../src/rules/workloads.ts";

describe("unlisted files", () => {
  const files = (extra: Record<string, string>): Map<string, string> =>
    new Map(
      Object.entries({
        "gitops/clusters/one/kustomization.yaml": "resources: [../../apps/shop]\ncomponents: [part]",
        "gitops/clusters/one/part/kustomization.yaml":
          "patches: [{path: patch.yaml}]\nreplacements: [{path: r.yaml}]",
        "gitops/clusters/one/part/patch.yaml": "",
        "gitops/clusters/one/part/r.yaml": "",
        "gitops/apps/shop/kustomization.yaml":
          "resources: [service.yaml]\nconfigMapGenerator: [{name: c, files: [key=c.txt], envs: [c.env]}]",
        "gitops/apps/shop/service.yaml": "",
        "gitops/apps/shop/c.txt": "",
        "gitops/apps/shop/c.env": "",
        "gitops/README.md": "",
        "elsewhere/loose.yaml": "",
        ...extra,
      }),
    );
  const check = (extra: Record<string, string>): string =>
    formatFindings(unlistedFiles(files(extra), "gitops/", ["gitops/clusters/one"]));

  test("are none where each is a resource, a component, a patch or a generator's input", () => {
    expect(check({})).toBe("");
  });

  test("are found, and so is a directory that nothing leads to", () => {
    expect(check({ "gitops/apps/shop/deployment.yaml": "" })).toBe(
      "gitops/apps/shop/deployment.yaml: no kustomization uses this file: list it in gitops/apps/shop/kustomization.yaml or remove it [unlisted-file]",
    );
    const island = check({
      "gitops/apps/island/kustomization.yaml": "resources: [a.yaml]",
      "gitops/apps/island/a.yaml": "",
    });
    expect(island).toContain("gitops/apps/island/kustomization.yaml: ");
    expect(island).toContain("gitops/apps/island/a.yaml: ");
  });
});

describe("copies of a pinned value", () => {
  const pin = { name: "thing", value: "4.10", home: "versions.yaml" };
  const check = (text: string): string[] =>
    copiesOf(
      pin,
      new Map([
        ["versions.yaml", "4.10"],
        ["a.yaml", text],
      ]),
      () => true,
    ).map(({ where }) => where);

  test("are found by line, as whole words", () => {
    expect(check("one\nimage: thing:4.10\n")).toEqual(["a.yaml:2"]);
    expect(check("image: thing:4.10-slim")).toEqual(["a.yaml:1"]);
    expect(check("See 4.10.")).toEqual(["a.yaml:1"]);
  });

  test("are not part of longer numbers", () => {
    expect(check("4.101 4.10.1 14.10 1.4.10 4x10")).toEqual([]);
  });

  test("are looked for where the rule asks", () => {
    expect(copiesOf(pin, new Map([["a.md", "4.10"]]), (path) => path.endsWith(".yaml"))).toEqual([]);
  });
});

describe("the image tag", () => {
  const pin = { service: "services/shop", image: "shop", file: "k.yaml" };
  const check = (text: string, expected = "0123456789ab"): string =>
    formatFindings(wrongTag(pin, expected, new Map([["k.yaml", text]])));

  test("is right", () => {
    expect(check('images:\n  - name: shop\n    newTag: "0123456789ab"\n')).toBe("");
  });

  test("is wrong, and the finding says what to write where", () => {
    const text =
      'images:\n  - name: other\n    newTag: "1"\n  - name: shop\n    newName: r/shop\n    newTag: "ffff"\n';
    expect(check(text)).toBe(
      'k.yaml:6: shop: the tag is ffff, services/shop is at 0123456789ab: write newTag: "0123456789ab" (the quotes keep digits a string) [image-tag]',
    );
  });

  test("made of digits must be quoted", () => {
    expect(check("images:\n  - name: shop\n    newTag: 123456789012\n", "123456789012")).toContain(
      "k.yaml:3: ",
    );
  });

  test("is missing", () => {
    expect(check("resources: []")).toContain("no images entry named shop");
  });
});

describe("in a real repository", () => {
  let directory: string;
  const git = (...args: string[]): string => execFileSync("git", args, { cwd: directory, encoding: "utf8" });
  const commit = (): string =>
    git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "--all", "--message=x");

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "repository-"));
    git("init", "--quiet");
    mkdirSync(join(directory, "services/shop"), { recursive: true });
    writeFileSync(join(directory, "services/shop/main.ts"), "1");
    writeFileSync(join(directory, "other.txt"), "1");
    writeFileSync(join(directory, ".gitignore"), "ignored\n");
    git("add", ".");
    commit();
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  test("a service's tag follows its committed sources and nothing else", async () => {
    const before = await sourceTag(directory, "services/shop");
    expect(before).toMatch(/^[0-9a-f]{12}$/);
    writeFileSync(join(directory, "other.txt"), "2");
    commit();
    writeFileSync(join(directory, "services/shop/main.ts"), "2");
    expect(await sourceTag(directory, "services/shop")).toBe(before);
    commit();
    expect(await sourceTag(directory, "services/shop")).not.toBe(before);
  });

  test("a service that was never committed has no tag", async () => {
    mkdirSync(join(directory, "services/new"));
    await expect(sourceTag(directory, "services/new")).rejects.toThrow("services/new is in no commit yet");
  });

  test("files are read as they stand: changed, new and removed, but not ignored", async () => {
    writeFileSync(join(directory, "new.txt"), "n");
    writeFileSync(join(directory, "ignored"), "i");
    writeFileSync(join(directory, "services/shop/main.ts"), "2");
    rmSync(join(directory, "other.txt"));
    const repository = await readRepository(directory);
    expect([...repository.keys()].sort()).toEqual([".gitignore", "new.txt", "services/shop/main.ts"]);
    expect(repository.get("services/shop/main.ts")).toBe("2");
    expect(readFileSync(join(directory, "ignored"), "utf8")).toBe("i");
  });
});

const pods = (labels: object, container: object = {}, pod: object = {}): object => ({
  metadata: { labels },
  spec: { containers: [{ name: "cart", ...container }], ...pod },
});
const object = (kind: string, spec: object, namespace: string | undefined = "shop"): KubernetesObject => ({
  apiVersion: kind === "Deployment" ? "apps/v1" : "v1",
  kind,
  metadata: { name: "cart", ...(namespace ? { namespace } : {}) },
  spec,
});

describe("selectors", () => {
  const labels = { "app.kubernetes.io/name": "cart" };
  const template = pods(labels, { ports: [{ name: "http", containerPort: 8000 }] });
  const deployment = object("Deployment", { selector: { matchLabels: labels }, template });
  const service = (selector: object, targetPort: unknown): KubernetesObject =>
    object("Service", { selector, ports: [{ port: 80, targetPort }] });
  const check = (...objects: KubernetesObject[]): string => formatFindings(emptySelectors(objects));

  test("that match have no findings", () => {
    const budget = object("PodDisruptionBudget", { selector: { matchLabels: labels } });
    const policy = object("NetworkPolicy", { podSelector: {} });
    expect(check(deployment, service(labels, "http"), service(labels, 8000), budget, policy)).toBe("");
  });

  test("that match nothing are found", () => {
    expect(check(deployment, service({ app: "cart" }, "http"))).toBe(
      "Service shop/cart spec.selector: matches no workload's pods: app=cart [selector-matches]",
    );
    const budget = object("PodDisruptionBudget", { selector: { matchLabels: { app: "cart" } } });
    expect(check(deployment, budget)).toContain("PodDisruptionBudget shop/cart spec.selector");
    const policy = object("NetworkPolicy", { podSelector: { matchLabels: { app: "cart" } } });
    expect(check(deployment, policy)).toContain("NetworkPolicy shop/cart spec.podSelector");
  });

  test("do not reach into another namespace", () => {
    const elsewhere = { ...deployment, metadata: { name: "cart", namespace: "other" } };
    expect(check(elsewhere, service(labels, "http"))).toContain("matches no workload's pods");
  });

  test("of a workload match its own pods", () => {
    const wrong = object("Deployment", { selector: { matchLabels: { app: "cart" } }, template });
    expect(check(wrong)).toContain("matches no pod of its own template: app=cart");
    const spread = { topologySpreadConstraints: [{ labelSelector: { matchLabels: { app: "x" } } }] };
    const uneven = object("Deployment", {
      selector: { matchLabels: labels },
      template: pods(labels, {}, spread),
    });
    expect(check(uneven)).toContain("topologySpreadConstraints: matches no pod of its own template: app=x");
  });

  test("lead to a port that exists", () => {
    expect(check(deployment, service(labels, "web"))).toContain(
      "targetPort web is no port of Deployment shop/cart",
    );
    expect(check(deployment, service(labels, undefined))).toContain("targetPort 80 is no port");
  });
});

describe("an AppProject", () => {
  const project = {
    ...object("AppProject", {
      destinations: [{ server: "https://kubernetes.default.svc", namespace: "shop" }],
      clusterResourceWhitelist: [{ group: "", kind: "Namespace", name: "cart" }],
      namespaceResourceWhitelist: [{ group: "apps", kind: "Deployment" }],
    }),
  };
  const check = (...objects: KubernetesObject[]): string =>
    formatFindings(forbiddenObjects(project, objects));
  const namespace = (name: string): KubernetesObject => ({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name },
  });

  test("allows what it lists", () => {
    expect(check(object("Deployment", {}), namespace("cart"))).toBe("");
  });

  test("forbids other kinds, other namespaces and other names", () => {
    expect(check(object("Service", {}))).toBe(
      'Service shop/cart: AppProject cart does not allow it: add group "", kind Service to its namespaceResourceWhitelist [project-allows]',
    );
    expect(check(object("Deployment", {}, "other"))).toContain("add namespace other to its destinations");
    expect(check(namespace("kube-system"))).toContain("kind Namespace to its clusterResourceWhitelist");
  });
});

describe("containers", () => {
  const securityContext = {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
  };
  const resources = { requests: { cpu: "10m", memory: "1Mi" }, limits: { memory: "2Mi" } };
  const pod = { securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } } };
  const check = (container: object, podFields: object = pod): string[] =>
    unconfinedContainers([object("Deployment", { template: pods({}, container, podFields) })]).map(
      (f) => f.message,
    );

  test("that are confined, by themselves or by their pod, have no findings", () => {
    expect(check({ securityContext, resources })).toEqual([]);
    expect(check({ securityContext: { ...securityContext, ...pod.securityContext }, resources }, {})).toEqual(
      [],
    );
  });

  test("that are not are told what is missing", () => {
    expect(check({}, {})).toHaveLength(7);
    const added = { ...securityContext, capabilities: { drop: ["ALL"], add: ["NET_ADMIN"] } };
    expect(check({ securityContext: added, resources })).toEqual(["add no capabilities"]);
    const writable = { ...securityContext, readOnlyRootFilesystem: false };
    expect(check({ securityContext: writable, resources })).toEqual(["set readOnlyRootFilesystem: true"]);
  });

  test("that run first count too", () => {
    expect(check({ securityContext, resources }, { ...pod, initContainers: [{ name: "first" }] })).toContain(
      "request cpu and memory",
    );
  });
});
