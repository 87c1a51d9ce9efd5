// @module-tag slow
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { type KubernetesObject, parseObjects } from "../../lib/object.ts";
import { renderObjects } from "../../lib/render/kustomize.ts";
import { renderInstall } from "../../lib/render/start.ts";
import { checkout } from "../../lib/repository.ts";

interface Probe {
  initialDelaySeconds?: number;
  periodSeconds?: number;
}
interface Container {
  name: string;
  startupProbe?: Probe;
  readinessProbe?: Probe;
}

// A pod that is asked too early is asked again one period later. What the bootstrap waits for is asked each second.
const directories = [
  "bootstrap/embedded/manifests/coredns",
  "bootstrap/embedded/manifests/git-server",
  "gitops/apps/logging/overlays/local",
  "gitops/clusters/embedded/log-agent",
  "gitops/platform/monitoring/stack/embedded",
  "gitops/platform/search/overlays/embedded",
];
// They are ready as soon as they run, when the kubelet asks a second time.
const early = new Set(["coredns", "progress", "redis"]);
const waiting: [string, Container][] = [];

beforeAll(async () => {
  const objects: KubernetesObject[] = parseObjects(await renderInstall(checkout, "embedded"));
  for (const directory of directories) objects.push(...(await renderObjects(join(checkout, directory))));
  for (const { kind, metadata, spec } of objects)
    for (const container of (spec?.template?.spec?.containers ?? []) as Container[])
      if (container.readinessProbe && !early.has(container.name))
        waiting.push([
          `${kind} ${metadata.namespace}/${metadata.name}, container ${container.name}`,
          container,
        ]);
}, 900_000);

test("every container whose readiness is asked seldom is asked each second until it has started", () => {
  const names = waiting.map(([name]) => name).join();
  for (const name of [
    "argocd-server",
    "argocd-repo-server",
    "argocd-application-controller",
    "git-server",
    "app",
  ])
    expect(names).toContain(`/${name},`);
  const late = waiting.filter(([, { startupProbe, readinessProbe }]) => {
    const { initialDelaySeconds = 0, periodSeconds = 10 } = readinessProbe ?? {};
    return initialDelaySeconds > 0 || (periodSeconds > 1 && startupProbe?.periodSeconds !== 1);
  });
  expect(late.map(([name]) => name)).toEqual([]);
});
