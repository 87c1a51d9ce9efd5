/** 30,000 messages through deleted pods, a rollout, a killed agent and a node that fails and comes back. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, expect, test } from "vitest";
import { until } from "../../lib/failure.ts";
import { namespace, pods } from "../app.ts";
import { kubectl } from "../kubectl.ts";
import {
  agents,
  archiveNow,
  lagOf,
  linesOfAgents,
  notOnce,
  type PrintedLine,
  restored,
  type Sent,
  send,
} from "../lines.ts";
import { cgroupProcesses } from "../machine.ts";

const total = 30_000;
const id = randomUUID();
let sent: Sent;
const printed = new Map<string, PrintedLine>();

const commandOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
};

/** Kills processes of the platform whose command line matches. */
function kill(pattern: RegExp): number {
  const found = cgroupProcesses().filter((pid) => pattern.test(commandOf(pid)));
  for (const pid of found) process.kill(pid, "SIGKILL");
  return found.length;
}

/** Adds what the agents have printed so far, as a node's container logs are rotated. */
async function gather(): Promise<void> {
  for (const line of await linesOfAgents(id)) {
    const place = `${line.file} ${line.offset} ${line.message}`;
    const before = printed.get(place);
    // A repeat, which a killed agent may make, is the same line.
    if (before)
      expect(line).toMatchObject({ time: before.time, request_id: before.request_id, pod: before.pod });
    else printed.set(place, line);
  }
}

beforeAll(async () => {
  const sending = send(id, total);
  const reach = async (count: number): Promise<void> =>
    until(`${count} messages`, 1200, async () =>
      sending.acknowledged.size >= count ? undefined : `${sending.acknowledged.size} are acknowledged`,
    );
  for (const count of [3000, 6000]) {
    await reach(count);
    const [victim] = await pods();
    await kubectl(["--namespace", namespace, "delete", "pod", victim?.metadata.name ?? "", "--wait=false"]);
  }
  await reach(9000);
  await gather();
  await kubectl(["--namespace", namespace, "rollout", "restart", "deployment", "app"]);
  await reach(13_000);
  await gather();
  expect(kill(/^\/otelcol-contrib /)).toBeGreaterThan(0);
  await reach(18_000);
  await gather();
  expect(kill(/(kubelet|containerd) .*node2/)).toBeGreaterThan(0);
  await reach(24_000);
  await gather();
  sent = await sending.done;
  await until("agents", 300, async () => {
    const ready = (await agents()).length;
    return ready === 2 ? undefined : `${ready} are ready`;
  });
  await sleep(5000);
  await gather();
}, 3_000_000);

test("every acknowledged line was printed, and a repeat is the same line of the same place", async ({
  annotate,
}) => {
  const messages = new Set([...printed.values()].map(({ message }) => message));
  expect([...sent.acknowledged].filter((message) => !messages.has(message))).toEqual([]);
  const { p50, p99 } = lagOf([...printed.values()]);
  await annotate(`written to printed, chaos included: p50 ${p50} ms, p99 ${p99} ms`);
});

test("after the next run every acknowledged line is in the archives exactly once", async ({ annotate }) => {
  const started = Date.now();
  const { exitCode, stderr } = await archiveNow();
  expect([exitCode, stderr]).toEqual([0, expect.anything()]);
  await annotate(`the run took ${Math.round((Date.now() - started) / 1000)} s`);
  expect(notOnce(await restored(id), sent)).toEqual([]);
});
