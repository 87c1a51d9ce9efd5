// @module-tag slow
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dump, loadAll } from "js-yaml";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { isMapping, type KubernetesObject } from "../../lib/object.ts";
import { readRepository } from "../../lib/repository.ts";
import { TestCache } from "../../lib/test/cache.ts";
import { amount } from "../../lib/test/long.ts";
import { MutableCluster } from "../mutations/cluster.ts";
import { mistake, mutate, wrongShape } from "../mutations/mutations.ts";
import { numbers, oneOf } from "../mutations/random.ts";
import { formatFindings } from "../src/finding.ts";
import { validate } from "../src/validate.ts";
import { Sample } from "./corpus.ts";

// A field may hold anything: what people write is a finding with a file and a field, and never a crash of the tool.
const coldStart = 900_000;
const app = "gitops/apps/shop/base";
// An edit changes one Application; the others are as they were.
const kept = mkdtempSync(join(tmpdir(), "cache-"));
const cache = new TestCache(kept);
let sample: Sample;
beforeAll(async () => {
  sample = await Sample.of("shop");
}, coldStart);
afterEach(() => sample.restore());
afterAll(() => {
  sample.remove();
  rmSync(kept, { recursive: true, force: true });
});

const findings = async (): Promise<string[]> =>
  (await validate(sample.directory, { cache })).findings.map((found) => formatFindings([found]));

/** Changes the first document of a file; a path's last field is set, or removed where there is no value. */
function edit(file: string, path: (string | number)[], value?: unknown): void {
  const place = join(sample.directory, file);
  const [document, ...others] = loadAll(readFileSync(place, "utf8")) as KubernetesObject[];
  const changed = mutate(document as KubernetesObject, { kind: "", path, value });
  writeFileSync(place, [changed, ...others].map((part) => dump(part)).join("---\n"));
}

const ports = { http: { port: 80, targetPort: "http" } };
const mapping = { a: { b: 1 } };
const misshapen: [string, string, (string | number)[], unknown, string][] = [
  [
    "ports of a Service that are a mapping",
    `${app}/cart/service.yaml`,
    ["spec", "ports"],
    ports,
    "spec.ports",
  ],
  ["the spec of a Service that is a text", `${app}/cart/service.yaml`, ["spec"], "none", "spec"],
  [
    "the selector of a Service that is a list",
    `${app}/cart/service.yaml`,
    ["spec", "selector"],
    ["a"],
    "spec.selector",
  ],
  ["a RoleBinding without a role", `${app}/cart/rolebinding.yaml`, ["roleRef"], undefined, "roleRef"],
  ["subjects that are a mapping", `${app}/cart/rolebinding.yaml`, ["subjects"], mapping, "subjects"],
  ["rules of a Role that are a mapping", `${app}/cart/role.yaml`, ["rules"], mapping, "rules"],
  ["verbs that are a number", `${app}/cart/role.yaml`, ["rules", 0, "verbs"], 3, "verbs"],
  [
    "containers that are a mapping",
    `${app}/cart/deployment.yaml`,
    ["spec", "template", "spec", "containers"],
    mapping,
    "containers",
  ],
  [
    "a container that is a text",
    `${app}/report/cronjob.yaml`,
    ["spec", "jobTemplate", "spec", "template", "spec", "containers", 0],
    "report",
    "containers",
  ],
  [
    "an image that is a number",
    `${app}/report/cronjob.yaml`,
    ["spec", "jobTemplate", "spec", "template", "spec", "containers", 0, "image"],
    3,
    "image",
  ],
  [
    "an environment that is a mapping",
    `${app}/cart/deployment.yaml`,
    ["spec", "template", "spec", "containers", 0, "env"],
    mapping,
    "env",
  ],
  [
    "capabilities that are a list",
    `${app}/report/cronjob.yaml`,
    [
      "spec",
      "jobTemplate",
      "spec",
      "template",
      "spec",
      "containers",
      0,
      "securityContext",
      "capabilities",
      "drop",
    ],
    "ALL",
    "drop",
  ],
  [
    "a template without a spec",
    `${app}/report/cronjob.yaml`,
    ["spec", "jobTemplate", "spec", "template", "spec"],
    undefined,
    "spec",
  ],
  [
    "matchLabels that are a list",
    `${app}/cart/poddisruptionbudget.yaml`,
    ["spec", "selector", "matchLabels"],
    ["a"],
    "matchLabels",
  ],
  [
    "hosts that are a text",
    `${app}/mesh/virtualservice.yaml`,
    ["spec", "hosts"],
    "shop.example",
    "spec.hosts",
  ],
  ["routes that are a mapping", `${app}/mesh/virtualservice.yaml`, ["spec", "http"], mapping, "spec.http"],
  [
    "a destination that is a text",
    `${app}/mesh/virtualservice.yaml`,
    ["spec", "http", 0, "route", 0, "destination"],
    "cart",
    "destination",
  ],
  ["servers that are a mapping", `${app}/mesh/gateway.yaml`, ["spec", "servers"], mapping, "spec.servers"],
  [
    "subsets that are a text",
    `${app}/mesh/destinationrule.yaml`,
    ["spec", "subsets"],
    "stable",
    "spec.subsets",
  ],
  ["data that is a list", `${app}/report/configmap.yaml`, ["data"], ["a"], "data"],
  ["data that is a number", `${app}/report/configmap.yaml`, ["data", "collector.yaml"], 3, "data"],
  [
    "groups of rules that are a mapping",
    `${app}/report/prometheusrule.yaml`,
    ["spec", "groups"],
    mapping,
    "spec.groups",
  ],
  [
    "endpoints that are a text",
    `${app}/cart/servicemonitor.yaml`,
    ["spec", "endpoints"],
    "metrics",
    "spec.endpoints",
  ],
];

// These are read before any schema is asked, or have none.
const early: [string, string, (string | number)[], unknown][] = [
  [
    "an Application's source that is a text",
    "gitops/root/application-shop.yaml",
    ["spec", "source"],
    "gitops/apps/shop",
  ],
  [
    "an Application's sources that are a text",
    "gitops/root/application-shop.yaml",
    ["spec", "sources"],
    "gitops/apps/shop",
  ],
  [
    "an Application's values that are a list",
    "gitops/root/application-shop.yaml",
    ["spec", "source", "helm"],
    { values: ["gitops"] },
  ],
  [
    "an Application's images that are a mapping",
    "gitops/root/application-shop.yaml",
    ["spec", "source", "kustomize"],
    { images: mapping },
  ],
  [
    "an Application's destination that is a list",
    "gitops/root/application-shop.yaml",
    ["spec", "destination"],
    ["shop"],
  ],
  [
    "an Application whose namespace is a mapping",
    "gitops/root/application-shop.yaml",
    ["spec", "destination", "namespace"],
    mapping,
  ],
  ["an Application without a spec", "gitops/root/application-shop.yaml", ["spec"], undefined],
  [
    "a project's destinations that are a text",
    "bootstrap/argocd/root/base/appproject-shop.yaml",
    ["spec", "destinations"],
    "all",
  ],
  ["a kustomization's images that are a mapping", `${app}/cart/kustomization.yaml`, ["images"], mapping],
  ["a kustomization's image that is a text", `${app}/cart/kustomization.yaml`, ["images", 0], "cart"],
  [
    "a kustomization's resources that are a text",
    `${app}/cart/kustomization.yaml`,
    ["resources"],
    "deployment.yaml",
  ],
  [
    "a kustomization's generator that is a list",
    `${app}/cart/kustomization.yaml`,
    ["configMapGenerator"],
    [["a"]],
  ],
  ["a kustomization's patches that are a mapping", `${app}/cart/kustomization.yaml`, ["patches"], mapping],
  ["metadata that is a list", `${app}/cart/service.yaml`, ["metadata"], ["cart"]],
  ["a name that is a number", `${app}/cart/service.yaml`, ["metadata", "name"], 3],
  ["labels that are a text", `${app}/cart/service.yaml`, ["metadata", "labels"], "cart"],
  ["an apiVersion that is a number", `${app}/cart/service.yaml`, ["apiVersion"], 1],
  ["a kind that is a mapping", `${app}/cart/service.yaml`, ["kind"], mapping],
  [
    "a definition's versions that are a mapping",
    "gitops/platform/definitions/podmonitors.yaml",
    ["spec", "versions"],
    mapping,
  ],
  [
    "a definition's schema that is a text",
    "gitops/platform/definitions/podmonitors.yaml",
    ["spec", "versions", 0, "schema"],
    "open",
  ],
  [
    "a definition's type that does not exist",
    "gitops/platform/definitions/podmonitors.yaml",
    ["spec", "versions", 0, "schema", "openAPIV3Schema", "type"],
    "objekt",
  ],
];

describe("a field of a wrong shape is a finding with its file:", () => {
  test.each(misshapen)("%s", async (_, file, path, value, field) => {
    edit(file, path, value);
    const found = (await findings()).filter((finding) => finding.includes(file));
    expect(found).not.toEqual([]);
    expect(found.some((finding) => finding.includes(field))).toBe(true);
  });

  test.each(early)("%s", async (_, file, path, value) => {
    edit(file, path, value);
    const found = await findings();
    expect(found).not.toEqual([]);
    for (const finding of found) expect(finding).toMatch(/^[\w./-]+:\d+:\d+: /);
  });

  test.each([
    ["a mapping of a list", "versions.yaml", "- 1\n- 2\n"],
    ["the place of the repository", "gitops/clusters/one/source/configmap.yaml", "data: [1]\n"],
    [
      "an IstioOperator",
      "bootstrap/istio/operator.yaml",
      "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {name: a}\nspec: {components: {ingressGateways: {name: 3}}}\n",
    ],
    ["an IstioOperator that is a text", "bootstrap/istio/operator.yaml", "kind: IstioOperator\nspec: none\n"],
    ["a manifest that is a list", `${app}/report/configmap.yaml`, "- apiVersion: v1\n  kind: ConfigMap\n"],
    ["a manifest that is a text", `${app}/report/configmap.yaml`, "none\n"],
  ])("not a crash: %s", async (_, file, text) => {
    writeFileSync(join(sample.directory, file), text);
    const found = await findings();
    expect(found).not.toEqual([]);
    for (const finding of found) expect(finding).toMatch(/^[\w./-]+:\d+:\d+: /);
  });
});

// MUTATIONS=5000 takes many more of both.
const count = Number(process.env.MUTATIONS ?? amount(200, 600));

test(
  "no mutation of a rendered object crashes a rule, and what is found has a file",
  async () => {
    const cluster = await MutableCluster.of(sample.directory, "one", cache);
    const random = numbers(20);
    for (let index = 0; index < count; index++) {
      const manifest = oneOf(cluster.manifests, random);
      const mutation =
        index % 2 === 0 ? wrongShape(manifest.object, random) : mistake(manifest.object, random);
      if (!mutation) continue;
      const what = `${manifest.object.kind} ${JSON.stringify(mutation)}`;
      const found = await cluster
        .findings(manifest, mutate(manifest.object, mutation))
        .catch((error: Error) => [`${what}: ${error.stack}`]);
      for (const finding of found) expect(finding).toMatch(/^[\w./-]+:\d+:\d+: /);
    }
  },
  coldStart,
);

test(
  "no mutation of a file crashes validate",
  async () => {
    const repository = await readRepository(sample.directory);
    const files = [...repository.keys()].filter((file) => /\.ya?ml$/.test(file));
    const random = numbers(21);
    for (let index = 0; index < count / 20; index++) {
      const file = oneOf(files, random);
      const document = loadAll(repository.get(file) ?? "")[0];
      if (!isMapping(document)) continue;
      const mutation = wrongShape(document as KubernetesObject, random);
      writeFileSync(
        join(sample.directory, file),
        dump(mutate(document as KubernetesObject, mutation), { noRefs: true }),
      );
      const what = `${file} ${JSON.stringify(mutation)}`;
      const found = await validate(sample.directory, { cache }).then(
        (result) => result.findings.map((finding) => formatFindings([finding])),
        (error: Error) => [`${what}: ${error.stack}`],
      );
      for (const finding of found) expect(finding).toMatch(/^[\w./-]+:\d+:\d+: /);
      writeFileSync(join(sample.directory, file), repository.get(file) ?? "");
    }
  },
  coldStart,
);
