/** B: the workloads in namespace `logging`. */
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { deployment, linesWith, namespace, pods, post } from "./app.ts";
import { get, list } from "./kubectl.ts";

test("B1 the app has 3 ready replicas with an emptyDir at /app/logs", async () => {
  const { spec, status } = await deployment();
  expect(spec.replicas).toBe(3);
  expect(status.readyReplicas).toBe(3);
  const { containers, volumes } = spec.template.spec;
  const app = containers.find(({ name }) => name === "app");
  const logs = app?.volumeMounts.find(({ mountPath }) => mountPath === "/app/logs");
  expect(volumes.find(({ name }) => name === logs?.name)?.emptyDir).toBeDefined();
});

test("B1 the pods stand on both nodes", async ({ annotate }) => {
  const nodes = (await pods()).map(({ spec }) => spec.nodeName).sort();
  await annotate(nodes.join(" "));
  expect(nodes).toHaveLength(3);
  expect(new Set(nodes).size).toBe(2);
});

test("B1 each pod keeps a log of its own", async () => {
  const id = randomUUID();
  await post(id);
  const holders = [...(await linesWith(id)).values()].filter((found) => found.length > 0);
  expect(holders).toHaveLength(1);
});

test("B3 app-service is a ClusterIP in front of the 3 pods", async () => {
  const { spec } = await get<{ spec: { type: string; clusterIP: string } }>(
    ...["service", "app-service", "--namespace", namespace],
  );
  expect(spec.type).toBe("ClusterIP");
  const slices = await list<{ endpoints: { addresses: string[]; conditions: { ready: boolean } }[] }>(
    ...["endpointslices", "--namespace", namespace],
    ...["--selector", "kubernetes.io/service-name=app-service"],
  );
  const ready = slices.flatMap(({ endpoints }) => endpoints).filter(({ conditions }) => conditions.ready);
  const addresses = (await pods()).map(({ status }) => status.podIP);
  expect(ready.flatMap((endpoint) => endpoint.addresses).sort()).toEqual(addresses.sort());
  expect(addresses).toHaveLength(3);
});

test("B3 requests spread over the pods: all 3 answer", async ({ annotate }) => {
  const id = randomUUID();
  // A pod that has a third of the chance misses all 60 once in 10 thousand million runs.
  const requests = 60;
  for (let i = 0; i < requests; i++) expect((await post(id)).status).toBe(200);
  const counts = [...(await linesWith(id))].map(([pod, found]) => [pod, found.length] as const);
  await annotate(counts.map(([pod, count]) => `${pod}: ${count}`).join(", "));
  expect(counts).toHaveLength(3);
  for (const [pod, count] of counts) expect(count, pod).toBeGreaterThan(0);
  expect(counts.reduce((sum, [, count]) => sum + count, 0)).toBe(requests);
});
