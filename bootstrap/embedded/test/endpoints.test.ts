import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import type { KubernetesObject } from "../../../lib/object.ts";
import { Cache } from "../../../lib/render/cache.ts";
import { renderCluster } from "../../../lib/render/cluster.ts";
import { renderObjects } from "../../../lib/render/kustomize.ts";
import { cacheDirectory, checkout, readRepository } from "../../../lib/repository.ts";
import { endpoints } from "../src/layout.ts";

let nodePorts: number[];

beforeAll(async () => {
  const repository = await readRepository(checkout);
  const applications = await renderCluster(checkout, repository, "embedded", new Cache(cacheDirectory));
  const git = await renderObjects(join(checkout, "bootstrap/embedded/manifests/git-server"));
  const objects = [...applications.flatMap(({ manifests }) => manifests.map(({ object }) => object)), ...git];
  nodePorts = objects.flatMap(portsOf);
});

const portsOf = ({ kind, spec }: KubernetesObject): number[] =>
  kind === "Service"
    ? ((spec?.ports ?? []) as { nodePort?: number }[]).flatMap(({ nodePort }) => nodePort ?? [])
    : [];

// The ports of the gateway are in its IstioOperator, which istioctl renders.
test.each(endpoints(80).filter(({ name }) => name !== "app"))(
  "the node port of $name is that of one Service",
  ({ nodePort }) => {
    expect(nodePorts.filter((port) => port === nodePort)).toEqual([nodePort]);
  },
);
