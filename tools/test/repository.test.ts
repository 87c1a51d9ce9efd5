import { readdirSync } from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";
import { beforeAll, describe, expect, test } from "vitest";
import { formatFindings } from "../src/finding.ts";
import { sourceTag } from "../src/git/source-tag.ts";
import { argocd, kubernetes, kustomize, pinnedVersion } from "../src/render/go.ts";
import { readSource, sourceFile } from "../src/render/source.ts";
import { checkout, type Repository, readRepository } from "../src/repository.ts";
import { wrongTag } from "../src/rules/image-tag.ts";
import { unlistedFiles } from "../src/rules/reachability.ts";
import { copiesOf, type Pin } from "../src/rules/single-place.ts";

let repository: Repository;
beforeAll(async () => {
  repository = await readRepository(checkout);
});

const clusters = readdirSync(join(checkout, "gitops/clusters"));
const isDocumentation = (path: string): boolean => path.startsWith("docs/") || path.endsWith(".md");

describe.each(clusters)("the repository of cluster %s", (cluster) => {
  const { repository: value, branch } = readSource(checkout, cluster);

  test("is named in one file", () => {
    const pin: Pin = { name: "repository", value, home: sourceFile(cluster) };
    expect(formatFindings(copiesOf(pin, repository, (path) => !isDocumentation(path)))).toBe("");
  });

  test("has its branch named in that file", () => {
    const pin: Pin = { name: "branch", value: `targetRevision: ${branch}`, home: sourceFile(cluster) };
    expect(formatFindings(copiesOf(pin, repository, (path) => path.endsWith(".yaml")))).toBe("");
  });
});

describe("a version", () => {
  const versionsFile = (): [string, unknown][] => {
    const versions = load(repository.get("versions.yaml") ?? "") as Record<string, unknown>;
    // A word such as a distribution's name is part of other words and says nothing by itself.
    return Object.entries(versions).filter(([, value]) => /^\d+(\.\d+)+$/.test(String(value)));
  };
  const searched = (path: string): boolean =>
    /^(bootstrap|gitops|tools)\/.*\.(yaml|ts)$/.test(path) || path.endsWith("Dockerfile");

  test("of versions.yaml is written there only", () => {
    const pins = versionsFile().map(([name, value]) => ({
      name,
      value: String(value),
      home: "versions.yaml",
    }));
    expect(pins.length).toBeGreaterThan(0);
    expect(formatFindings(pins.flatMap((pin) => copiesOf(pin, repository, searched)))).toBe("");
  });

  test.each([argocd, kubernetes, kustomize])(
    "of the module $directory is written in its go.mod only",
    (module) => {
      const value = pinnedVersion(checkout, module);
      const home = `bootstrap/embedded/modules/${module.directory}/go.mod`;
      const pins = [value, value.slice(1)].map((word) => ({ name: module.path, value: word, home }));
      expect(formatFindings(pins.flatMap((pin) => copiesOf(pin, repository, searched)))).toBe("");
    },
  );
});

test("every file under gitops and bootstrap/argocd is used by a kustomization", () => {
  const kustomizations = [...repository.keys()].filter((path) => path.endsWith("/kustomization.yaml"));
  const rootsUnder = (pattern: RegExp): string[] =>
    kustomizations
      .filter((path) => pattern.test(path))
      .map((path) => path.replace("/kustomization.yaml", ""));
  const findings = [
    ...unlistedFiles(repository, "gitops/", [
      ...rootsUnder(/^gitops\/clusters\/[^/]+\/kustomization/),
      ...rootsUnder(/^gitops\/apps\/[^/]+\/overlays\/[^/]+\/kustomization/),
    ]),
    ...unlistedFiles(repository, "bootstrap/argocd/", [
      ...rootsUnder(/^bootstrap\/argocd\/[^/]+\/(?!base)[^/]+\/kustomization/),
    ]),
  ];
  expect(formatFindings(findings)).toBe("");
});

test("the image tag of app in gitops is that of its committed sources", async () => {
  const pin = {
    service: "services/app",
    image: "app",
    file: "gitops/apps/logging/base/app/kustomization.yaml",
  };
  const expected = await sourceTag(checkout, pin.service);
  expect(formatFindings(wrongTag(pin, expected, repository))).toBe("");
  const example = repository.get("docs/examples/app-pod.yaml")?.match(/logging-platform\/app:(\S+)/)?.[1];
  expect(example, "the image in docs/examples/app-pod.yaml").toBe(expected);
});
