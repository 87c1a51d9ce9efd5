/** B4 and B5: what the agents print and the archive holds, a pod deleted meanwhile. */
import { randomUUID } from "node:crypto";
import { execa } from "execa";
import { beforeAll, expect, test } from "vitest";
import { until } from "../lib/failure.ts";
import { namespace, pods } from "./app.ts";
import { inPod, kubectl, list } from "./kubectl.ts";
import {
  agents,
  archiveNow,
  keeper,
  lagOf,
  linesOfAgents,
  notOnce,
  type PrintedLine,
  restored,
  type Sent,
  send,
} from "./lines.ts";
import { repository } from "./platform.ts";

const id = randomUUID();
let sent: Sent;

beforeAll(async () => {
  const sending = send(id, 1000);
  await until("300 messages", 60, async () =>
    sending.acknowledged.size >= 300 ? undefined : `only ${sending.acknowledged.size} are acknowledged`,
  );
  const [victim] = await pods();
  await kubectl(["--namespace", namespace, "delete", "pod", victim?.metadata.name ?? "", "--wait=false"]);
  sent = await sending.done;
});

test("B4 an agent runs on every node", async () => {
  const nodes = (await list("nodes")).map(({ metadata }) => metadata.name).sort();
  expect((await agents()).map(({ spec }) => spec.nodeName).sort()).toEqual(nodes);
});

test("B4 the agents print every acknowledged line once, each on its own node, with its pod and place", async ({
  annotate,
}) => {
  await until("the agents' output", 60, async () => {
    const printed = new Set((await linesOfAgents(id)).map(({ message }) => message));
    const missing = [...sent.acknowledged].filter((message) => !printed.has(message)).length;
    return missing === 0 ? undefined : `${missing} of ${sent.acknowledged.size} lines are missing`;
  });
  const printed = await linesOfAgents(id);
  // What a gateway's retry wrote on a second pod is two lines until they are merged.
  const once = new Map(printed.map((line) => [`${line.file} ${line.offset}`, line]));
  expect(once.size).toBe(printed.length);
  expect([...new Set(printed.map(({ message }) => message))].sort()).toEqual([...sent.acknowledged].sort());
  const running = new Map((await pods()).map((pod) => [pod.metadata.uid, pod]));
  for (const line of printed) {
    expect(line).toMatchObject({ namespace, node: line.agentsNode, pod: expect.stringMatching(/^app-/) });
    const pod = running.get(line.uid);
    if (pod) expect([line.pod, line.node]).toEqual([pod.metadata.name, pod.spec.nodeName]);
  }
  expect(new Set(printed.map(({ node }) => node)).size).toBe(2);
  const { p50, p99 } = lagOf(printed);
  await annotate(`written to printed: p50 ${p50} ms, p99 ${p99} ms over ${printed.length} lines`);
});

test("B5 a run completes with its sidecar, shows what it packed, and the archives hold every line once", async () => {
  const { exitCode, stdout } = await archiveNow();
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/^-rw\S+ .* app\/logs\/app-\S+\.log$/m);
  expect(stdout).toMatch(/app-logs-\S+\.tar\.gz: \d+ lines of \d+ pods, \d+ bytes, verified and stored/);
  expect(notOnce(await restored(id), sent)).toEqual([]);
  await until("the job", 60, async () => {
    const jobs = await list<{ metadata: { name: string }; status: { succeeded?: number } }>(
      ...["jobs", "--namespace", namespace],
    );
    // Its name ends with the time; a scheduled one may have met pods that other tests took away.
    const ours = jobs.filter(({ metadata }) => metadata.name.startsWith("log-archiver-now-"));
    const job = ours.toSorted((a, b) => a.metadata.name.localeCompare(b.metadata.name)).at(-1);
    return job?.status.succeeded ? undefined : `${job?.metadata.name} has not completed`;
  });
});

test("B4 replaced agents neither lose nor repeat lines", async () => {
  const during = randomUUID();
  const sending = send(during, 200);
  const selector = "app.kubernetes.io/name=log-agent";
  await kubectl(["--namespace", "log-agent", "delete", "pods", "--selector", selector]);
  const { acknowledged } = await sending.done;
  const count = acknowledged.size;
  await until("agents", 120, async () => {
    const ready = (await agents()).length;
    return ready === 2 ? undefined : `${ready} are ready`;
  });
  const scriptOf = "cat /store/lines*.jsonl";
  const stores = await list(
    ...["pods", "--namespace", "log-agent", "--selector", "app.kubernetes.io/name=log-store"],
  );
  const stored = async (): Promise<PrintedLine[]> => {
    const texts = await Promise.all(
      stores.map(({ metadata }) => inPod("log-agent", metadata.name, "sh", "-c", scriptOf)),
    );
    const lines = texts
      .join("")
      .split("\n")
      .filter((line) => line.includes(during));
    return lines.map((line) => JSON.parse(line) as PrintedLine);
  };
  await until("the stores", 60, async () => {
    const found = new Set((await stored()).map(({ message }) => message)).size;
    return found === count ? undefined : `${found} of ${count} lines are stored`;
  });
  // One line of a file is there once; a retry that the gateway sent to a second pod is a line of that pod's file.
  const places = (await stored()).map(({ file, offset }) => `${file} ${offset}`);
  expect(new Set(places).size).toBe(places.length);
  expect([...new Set((await stored()).map(({ message }) => message))].sort()).toEqual(
    [...acknowledged].sort(),
  );
});

test("B5 the stored archive verifies, and its figures are metrics", async () => {
  const options = ["run", "--silent", "restore", "--", "--verify"];
  const { stdout, stderr } = await execa("npm", options, { cwd: repository });
  expect([stdout, stderr]).toEqual([
    "",
    expect.stringMatching(/^(app-logs-.*\.tar\.gz|\d+ archives): verified$/m),
  ]);
  const script = "fetch('http://127.0.0.1:9090/metrics').then((r) => r.text()).then(console.log)";
  const pod = await keeper();
  let metrics = "";
  await until("the figures of both nodes' stores", 60, async () => {
    metrics = await inPod(namespace, pod, "node", "-e", script);
    const nodes = [...metrics.matchAll(/^log_store_unarchived_bytes\{node="(\S+)"\}/gm)].map(
      ([, node]) => node,
    );
    return nodes.sort().join() === "node1,node2" ? undefined : `there are those of ${nodes.join()}`;
  });
  const value = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(metrics)?.[1]);
  expect(value("log_archives")).toBeGreaterThanOrEqual(1);
  expect(value("log_archives_damaged")).toBe(0);
  expect(Date.now() / 1000 - value("log_archive_last_success_timestamp_seconds")).toBeLessThan(900);
});

test("B5 the nodes' stores answer the archiver alone", async () => {
  const [store] = await list<{ status: { podIP: string } }>(
    ...["pods", "--namespace", "log-agent", "--selector", "app.kubernetes.io/name=log-store"],
  );
  const ip = store?.status.podIP ?? "";
  const host = `${ip.replaceAll(".", "-")}.log-store.log-agent.svc.cluster.local`;
  const ask = (to: string): string =>
    `fetch('http://${to}:8080/').then((r) => console.log(r.status), (e) => console.log(e.cause.code))`;
  const [app] = await pods();
  const from = app?.metadata.name ?? "";
  // By name it leaves with the app's identity, by address as plaintext.
  expect((await inPod(namespace, from, "node", "-e", ask(host))).trim()).not.toBe("200");
  expect((await inPod(namespace, from, "node", "-e", ask(ip))).trim()).not.toBe("200");
});
