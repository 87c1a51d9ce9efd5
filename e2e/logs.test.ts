/** B4 and B5: the agents' output, the archive, and that no acknowledged line is missing in either. */
import { randomUUID } from "node:crypto";
import { execa } from "execa";
import { beforeAll, describe, expect, test } from "vitest";
import { sleep, until } from "../tools/src/failure.ts";
import { namespace, pods, post } from "./app.ts";
import { inPod, kubectl, list } from "./kubectl.ts";
import { agents, archiveNow, keeper, lagOf, linesOfAgents, restored, send } from "./lines.ts";
import { repository } from "./platform.ts";

const id = randomUUID();
let acknowledged: Set<string>;

beforeAll(async () => {
  const running = send(id, 1000);
  await until("messages", 60, async () => (running.acknowledged.size > 300 ? undefined : "are being sent"));
  const [victim] = await pods();
  await kubectl(["--namespace", namespace, "delete", "pod", victim?.metadata.name ?? "", "--wait=false"]);
  acknowledged = await running.done;
});

test("B4 an agent runs on every node", async () => {
  const nodes = (await list("nodes")).map(({ metadata }) => metadata.name).sort();
  expect((await agents()).map(({ spec }) => spec.nodeName).sort()).toEqual(nodes);
});

test("B4 the agents print every acknowledged line once, with its pod and place, on its own node", async ({
  annotate,
}) => {
  expect(acknowledged.size).toBe(1000);
  await until("the agents' output", 60, async () => {
    const printed = new Set((await linesOfAgents(id)).map(({ message }) => message));
    const missing = [...acknowledged].filter((message) => !printed.has(message)).length;
    return missing === 0 ? undefined : `${missing} lines are missing`;
  });
  const printed = await linesOfAgents(id);
  expect(printed.map(({ message }) => message).sort()).toEqual([...acknowledged].sort());
  const running = new Map((await pods()).map((pod) => [pod.metadata.uid, pod]));
  for (const line of printed) {
    expect(line).toMatchObject({ namespace, node: line.agentsNode, pod: expect.stringMatching(/^app-/) });
    expect(line.file).toBe(`${line.uid}/volumes/kubernetes.io~empty-dir/logs/app.log`);
    const pod = running.get(line.uid);
    if (pod) expect([line.pod, line.node]).toEqual([pod.metadata.name, pod.spec.nodeName]);
  }
  expect(new Set(printed.map(({ node }) => node)).size).toBe(2);
  expect(new Set(printed.map(({ pod }) => pod)).size).toBeGreaterThanOrEqual(3);
  const { p50, p99 } = lagOf(printed);
  await annotate(`acknowledged to printed: p50 ${p50} ms, p99 ${p99} ms over ${printed.length} lines`);
});

test("B4 a restarted agent neither loses nor repeats lines", async () => {
  const restartId = randomUUID();
  const running = send(restartId, 200);
  await kubectl(["--namespace", "log-agent", "delete", "pod", "--selector", "app.kubernetes.io/name=log-agent"]);
  const sent = await running.done;
  await until("agents", 120, async () =>
    (await agents()).length === 2 ? undefined : "are not there again",
  );
  // What the first agents printed is gone with them; what a node keeps is not.
  await until("the stores", 60, async () => {
    const { stdout } = await execa("npm", ["run", "--silent", "archive", "--", "--now"], { cwd: repository });
    expect(stdout).toContain("verified and stored");
    const found = await restored(restartId);
    return found.length === sent.size ? undefined : `${found.length} of ${sent.size} lines are in the archive`;
  });
  expect((await restored(restartId)).sort()).toEqual([...sent].sort());
});

describe("B5", () => {
  test("a run completes with its sidecar, shows what it packed, and holds each line once", async () => {
    const { exitCode, stdout } = await archiveNow();
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^-rw\S+ .* app\/logs\/app-\S+\.log$/m);
    expect(stdout).toMatch(/app-logs-\S+\.tar\.gz: \d+ lines of \d+ pods, \d+ bytes, verified and stored/);
    expect((await restored(id)).sort()).toEqual([...acknowledged].sort());
    await until("the job", 60, async () => {
      const jobs = await list<{ metadata: { name: string }; status: { succeeded?: number } }>(
        ...["jobs", "--namespace", namespace],
      );
      const open = jobs.filter(({ status }) => !status.succeeded).map(({ metadata }) => metadata.name);
      return open.length === 0 ? undefined : `${open.join(", ")} has not completed`;
    });
  });

  test("the stored copy verifies, and its figures are metrics", async () => {
    const { stdout, stderr } = await execa("npm", ["run", "--silent", "restore", "--", "--verify"], {
      cwd: repository,
    });
    expect([stdout, stderr]).toEqual(["", expect.stringMatching(/^app-logs-\S+\.tar\.gz: verified$/m)]);
    const script = "fetch('http://127.0.0.1:9090/metrics').then((r) => r.text()).then(console.log)";
    const metrics = await inPod(namespace, await keeper(), "node", "-e", script);
    const value = (name: string): number =>
      Number(new RegExp(`^${name} (\\S+)$`, "m").exec(metrics)?.[1] ?? Number.NaN);
    expect(value("log_archive_lines")).toBeGreaterThanOrEqual(1000);
    expect(value("log_archives_damaged")).toBe(0);
    expect(Date.now() / 1000 - value("log_archive_last_success_timestamp_seconds")).toBeLessThan(900);
  });

  test("the stores answer the archiver alone", async () => {
    const [store] = await list<{ status: { podIP: string } }>(
      ...["pods", "--namespace", "log-agent", "--selector", "app.kubernetes.io/name=log-store"],
    );
    const host = `${store?.status.podIP.replaceAll(".", "-")}.log-store.log-agent.svc.cluster.local`;
    const ask = `fetch('http://${host}:8080/').then((r) => console.log(r.status), (e) => console.log(e.cause?.code))`;
    const [app] = await pods();
    const answer = await inPod(namespace, app?.metadata.name ?? "", "node", "-e", ask);
    expect(answer.trim()).toBe("403");
    await sleep(0);
  });
});

test("post is refused by nothing that these tests did", async () => {
  expect((await post(id)).status).toBe(200);
});
