/** A: the API, through the platform's address; its files through the pods that hold them. */
import { randomUUID } from "node:crypto";
import { execa } from "execa";
import { expect, test } from "vitest";
import { append, deployment, linesWith, namespace, type Pod, pods, post, send, url } from "./app.ts";
import { get, inPod } from "./kubectl.ts";

const json = /^application\/json/;
const plain = /^text\/plain/;
const problem = /^application\/problem\+json/;

async function settings(): Promise<Record<string, string>> {
  const { volumes } = (await deployment()).spec.template.spec;
  const name = volumes.find((volume) => volume.configMap)?.configMap?.name ?? "";
  return (await get<{ data: Record<string, string> }>("configmap", name, "--namespace", namespace)).data;
}

/** Runs JavaScript in an app container and returns what it logs. */
const evaluate = (pod: Pod, script: string): Promise<string> =>
  inPod(namespace, pod.metadata.name, "node", "--input-type=module", "--eval", script);

/** Sums a metric's samples over the pods. */
async function total(sample: string): Promise<number> {
  let sum = 0;
  for (const pod of await pods()) {
    const text = await evaluate(
      pod,
      `console.log(await (await fetch("http://127.0.0.1:${(await settings()).PORT}/metrics")).text())`,
    );
    const line = text.split("\n").find((line) => line.startsWith(`${sample} `));
    if (line === undefined) throw new Error(`${pod.metadata.name} has no sample ${sample}`);
    sum += Number(line.slice(sample.length));
  }
  return sum;
}

test("A1 GET / answers the greeting", async () => {
  const answer = await send("/");
  expect(answer).toMatchObject({ status: 200, type: expect.stringMatching(plain) });
  expect(answer.body).toBe((await settings()).GREETING ?? "Welcome to the custom app");
});

test("A2 GET /status answers ok", async () => {
  expect(await send("/status")).toMatchObject({
    status: 200,
    type: expect.stringMatching(json),
    body: '{"status":"ok"}',
  });
});

test("A3 the line of a POST /log is in one pod's file when the answer arrives", async () => {
  const { status, requestId } = await post('two\nlines, a \\ and "quotes" — ünï');
  expect(status).toBe(200);
  const found = [...(await linesWith(requestId)).values()].flat();
  expect(found).toEqual([
    expect.stringMatching(
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z \S+ two\\nlines, a \\\\ and "quotes" — ünï$/,
    ),
  ]);
  expect(found[0]?.split(" ")[1]).toBe(requestId);
});

test("A3 curl -d without a content type is read as JSON", async () => {
  const message = `test ${randomUUID()}`;
  const body = JSON.stringify({ message });
  const { stdout } = await execa("curl", ["-sS", "-X", "POST", url("/log"), "-d", body]);
  expect(JSON.parse(stdout)).toEqual({ status: "ok" });
  expect([...(await linesWith(message)).values()].flat()).toHaveLength(1);
});

test("A3 the lines of a POST /logs are in one pod's file when the answer arrives, all or none", async () => {
  const lines = Array.from({ length: 500 }, (_, index) => JSON.stringify({ message: `many ${index}` }));
  const answer = await send("/logs", lines.join("\n"), { "Content-Type": "application/x-ndjson" });
  expect(answer).toMatchObject({ status: 200, body: '{"status":"ok","lines":500}' });
  const found = [...(await linesWith(`${answer.requestId}:`)).values()].flat();
  expect(found.map((line) => line.split(" ").slice(1).join(" "))).toEqual(
    lines.map((_, index) => `${answer.requestId}:${index + 1} many ${index}`),
  );
  const refused = await send("/logs", `${lines.join("\n")}\n{}`);
  expect(refused.status).toBe(400);
  expect(JSON.parse(refused.body)).toMatchObject({ errors: [{ line: 501, field: "message" }] });
  expect([...(await linesWith(refused.requestId)).values()].flat()).toEqual([]);
});

test.each([
  ["no JSON", "message=x", 400],
  ["no UTF-8", Buffer.from('{"message":"\xff"}', "latin1"), 400],
  ["no message", "{}", 400],
  ["an empty message", '{"message":""}', 400],
  ["a number for a message", '{"message":7}', 400],
  ["more than 64 KiB", JSON.stringify({ message: "x".repeat(65 * 1024) }), 413],
])("A3 %s is refused as a problem and writes nothing", async (_name, body, status) => {
  const answer = await append(body);
  expect(answer).toMatchObject({ status, type: expect.stringMatching(problem) });
  expect(JSON.parse(answer.body)).toMatchObject({ status, detail: expect.stringMatching(/\w/) });
  expect(answer.requestId).toMatch(/\w/);
  expect([...(await linesWith(answer.requestId)).values()].flat()).toEqual([]);
});

test("A4 GET /logs of each pod equals the bytes of its files", async () => {
  await post(`ünï ${randomUUID()}`);
  const { PORT } = await settings();
  let bytes = 0;
  for (const pod of await pods()) {
    const script = `
      import { readdirSync, readFileSync } from "node:fs";
      const directory = "/app/logs/";
      const age = (name) => Number(name.slice("app.log.".length));
      const names = readdirSync(directory).filter((name) => /^app\\.log(\\.\\d+)?$/.test(name));
      const files = names.sort((a, b) => age(b) - age(a)).map((name) => readFileSync(directory + name));
      const answer = await fetch("http://127.0.0.1:${PORT}/logs");
      const shown = Buffer.from(await answer.arrayBuffer());
      console.log(JSON.stringify({
        status: answer.status,
        type: answer.headers.get("content-type"),
        shown: shown.toString("base64"),
        stored: Buffer.concat(files).toString("base64"),
      }));`;
    const { status, type, shown, stored } = JSON.parse(await evaluate(pod, script));
    expect({ status, type }).toEqual({ status: 200, type: expect.stringMatching(plain) });
    expect(shown, pod.metadata.name).toBe(stored);
    bytes += stored.length;
  }
  expect(bytes).toBeGreaterThan(0);
});

test("A4 GET /logs through the platform's address shows a pod's lines", async () => {
  const id = randomUUID();
  // Enough that every pod gets one, whichever answers below.
  for (let i = 0; i < 60; i++) await post(id);
  const answer = await send("/logs");
  expect(answer).toMatchObject({ status: 200, type: expect.stringMatching(plain) });
  expect(answer.body).toContain(id);
});

test.each(["/wrong", "/log/more"])("A5 %s is a 404 of the app's own", async (path) => {
  const answer = await send(path);
  expect(answer).toMatchObject({ status: 404, type: expect.stringMatching(problem) });
  expect(JSON.parse(answer.body)).toMatchObject({ status: 404, detail: expect.stringContaining(path) });
});

test("A5 a method that a path does not know is a 405 of the app's own", async () => {
  const answer = await send("/status", "{}");
  expect(answer).toMatchObject({ status: 405, type: expect.stringMatching(problem) });
});

test("A6 level, port and greeting are mounted from the ConfigMap at /app/config", async () => {
  const wanted = await settings();
  expect(Object.keys(wanted)).toEqual(expect.arrayContaining(["GREETING", "LOG_LEVEL", "PORT"]));
  for (const pod of await pods()) {
    for (const [key, value] of Object.entries(wanted)) {
      expect(await inPod(namespace, pod.metadata.name, "cat", `/app/config/${key}`)).toBe(value);
    }
    const ports = pod.spec.containers.find(({ name }) => name === "app")?.ports ?? [];
    const http = ports.find(({ name }) => name === "http")?.containerPort;
    expect(String(http)).toBe(wanted.PORT);
  }
});

test("A7 both ports show the metrics", async () => {
  const { PORT, METRICS_PORT } = await settings();
  const [pod] = await pods();
  if (!pod) throw new Error("the app has no pod");
  for (const port of [PORT, METRICS_PORT]) {
    const text = await evaluate(
      pod,
      `console.log(await (await fetch("http://127.0.0.1:${port}/metrics")).text())`,
    );
    expect(text).toMatch(/^# TYPE log_requests_total counter$/m);
    expect(text).toMatch(/^log_writes_total\{result="success"\} \d+$/m);
    expect(text).toMatch(/^log_writes_total\{result="failure"\} \d+$/m);
    expect(text).toMatch(/^http_request_duration_seconds_sum\{.+\} [\d.e-]+$/m);
    expect(text).toMatch(/^http_request_duration_seconds_count\{.+\} \d+$/m);
  }
  // Prometheus reads them; callers do not.
  expect((await send("/metrics")).status).toBe(403);
});

test("A7 calls of /log and writes are counted", async () => {
  const samples = ["log_requests_total", 'log_writes_total{result="success"}'];
  const before = await Promise.all(samples.map(total));
  await post("counted");
  await send("/log", "refused");
  const after = await Promise.all(samples.map(total));
  expect(after.map((value, index) => value - (before[index] ?? 0))).toEqual([2, 1]);
});

test("A8 liveness and readiness answer", async () => {
  expect((await send("/livez")).status).toBe(200);
  expect((await send("/readyz")).status).toBe(200);
});
