/** Logs of pods stay readable: nothing under a node's /var/log is cleared or closed with time. */

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { apply, kubectl } from "../kubectl.ts";
import { createNamespace, deleteNamespace, shellPod, waitForPhase } from "../testpods.ts";

const namespace = "e2e-node-logs";
const nodes = ["node1", "node2"];

beforeAll(async () => {
  await createNamespace(namespace);
  const script = "i=0; while true; do echo line $i; i=$((i + 1)); sleep 1; done";
  for (const node of nodes) await apply(shellPod(namespace, node, { script, node }));
  for (const node of nodes) await waitForPhase(namespace, node, "Running");
});

afterAll(() => deleteNamespace(namespace));

test("kubectl logs of pods on both nodes works after ten minutes", async ({ annotate }) => {
  const counts = async (): Promise<number[]> => {
    const counts: number[] = [];
    for (const node of nodes) {
      const lines = (await kubectl(["-n", namespace, "logs", node])).split("\n").slice(0, -1);
      // From the first line to the last, none missing.
      expect(lines).toEqual(lines.map((_, index) => `line ${index}`));
      counts.push(lines.length);
    }
    return counts;
  };
  await sleep(600_000);
  const first = await counts();
  await sleep(10_000);
  const second = await counts();
  await annotate(`lines read: ${second.join(", ")}`);
  second.forEach((count, index) => {
    expect(count, nodes[index]).toBeGreaterThan(first[index] ?? 0);
  });
});
