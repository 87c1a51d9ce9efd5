import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, rm, symlink, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import { parseLine } from "../src/line.ts";
import {
  entriesOf,
  expectProblem,
  ServiceProcess,
  sample,
  startHere,
  temporaryDirectory,
} from "./running.ts";

const bodyOf = (messages: unknown[]): string =>
  messages.map((message) => `${JSON.stringify({ message })}\n`).join("");

function postMany(
  url: string,
  body: string | Buffer,
  headers: Record<string, string> = {},
  path = "/logs",
): Promise<Response> {
  return fetch(url + path, { method: "POST", body: new Uint8Array(Buffer.from(body)), headers });
}

const numbered = (count: number, name = "message"): string[] =>
  Array.from({ length: count }, (_, index) => `${name} ${index}`);

describe("POST /logs", () => {
  test("every line is in the file when the answer arrives, in order, each under an id of its own", async () => {
    const { url, file } = await startHere();
    const messages = ["first", "two\nlines", "", "ünï \u2028 😀", '{"message":"inner"}', "first"].filter(
      Boolean,
    );
    const answer = await postMany(url, bodyOf(messages), { "x-request-id": "r1" });
    expect(await answer.json()).toEqual({ status: "ok", lines: messages.length });
    expect(answer.headers.get("x-request-id")).toBe("r1");
    expect((await entriesOf(file)).map(({ id, message }) => [id, message])).toEqual(
      messages.map((message, index) => [`r1:${index + 1}`, message]),
    );
  });

  test.each([
    ["without the last newline", '{"message":"a"}\n{"message":"b"}'],
    ["with carriage returns and spaces", ' {"message":"a"} \r\n\t{"message":"b"}\r\n'],
    ["with members besides", '{"message":"a","level":1}\n{"x":[],"message":"b"}\n'],
  ])("takes lines %s", async (_what, body) => {
    const { url, file } = await startHere();
    expect((await postMany(url, body)).status).toBe(200);
    expect((await entriesOf(file)).map(({ message }) => message)).toEqual(["a", "b"]);
  });

  test.each(["application/json", "text/plain", "application/x-www-form-urlencoded", "image/png"])(
    "reads the lines whatever the content type says: %s",
    async (type) => {
      const { url, file } = await startHere();
      expect((await postMany(url, bodyOf(["a"]), { "content-type": type })).status).toBe(200);
      expect(await entriesOf(file)).toMatchObject([{ message: "a" }]);
    },
  );

  test.each(["/logs/", "/LOGS", "/logs?a=b"])("%s is the same", async (path) => {
    const { url, file } = await startHere();
    expect((await postMany(url, bodyOf(["a", "b"]), {}, path)).status).toBe(200);
    expect(await entriesOf(file)).toHaveLength(2);
    expect(sample(await (await fetch(`${url}/metrics`)).text(), "log_many_requests_total")).toBe(1);
  });

  test("one line that is not valid, and none is stored: the answer names each at fault", async () => {
    const { url, file } = await startHere({ MAX_MESSAGE_BYTES: 10 });
    const wrong = [
      "no JSON",
      "",
      "[]",
      "null",
      "7",
      "{}",
      '{"message":7}',
      '{"message":""}',
      '{"message":"\\ud800"}',
      '{"message":"longer than ten"}',
      '{"message":"a"}{"message":"b"}',
    ];
    const lines = wrong.flatMap((line) => ['{"message":"good"}', line]);
    const body = Buffer.concat([
      Buffer.from(`${lines.join("\n")}\n`),
      Buffer.from('{"message":"\xff"}\n{"message":"good"}\n', "latin1"),
    ]);
    const problem = (await expectProblem(await postMany(url, body), 400)) as unknown as {
      detail: string;
      errors: { line: number; field?: string; detail: string }[];
    };
    expect(problem.detail).toBe("12 of 24 lines are not valid, none is stored");
    expect(problem.errors.map(({ line }) => line)).toEqual([2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 23]);
    expect(problem.errors.filter(({ field }) => field === "message").map(({ line }) => line)).toEqual([
      12, 14, 16, 18, 20,
    ]);
    expect(existsSync(file) ? await readFile(file, "utf8") : "").toBe("");
    const page = await (await fetch(`${url}/metrics`)).text();
    expect(sample(page, 'log_writes_total{result="success"}')).toBe(0);
    expect(sample(page, 'log_writes_total{result="failure"}')).toBe(0);
  });

  test("names a hundred lines at fault and counts them all", async () => {
    const { url } = await startHere();
    const answer = await postMany(url, "{}\n".repeat(10_000));
    const problem = (await answer.json()) as { detail: string; errors: unknown[] };
    expect(problem.detail).toBe("10000 of 10000 lines are not valid, none is stored");
    expect(problem.errors).toHaveLength(100);
  });

  test.each([
    ["empty", "", 400],
    ["a newline", "\n", 400],
    ["of more than 10,000 lines", bodyOf(numbered(10_001)), 413],
    ["of more bytes than allowed", bodyOf(["x".repeat(1024 * 1024)]), 413],
  ])("a body that is %s is refused", async (_what, body, status) => {
    const { url, file } = await startHere();
    await expectProblem(await postMany(url, body), status);
    expect(existsSync(file) ? await readFile(file, "utf8") : "").toBe("");
  });

  test("a body with a content coding is refused", async () => {
    const { url } = await startHere();
    await expectProblem(await postMany(url, bodyOf(["a"]), { "content-encoding": "gzip" }), 415);
  });

  test("a body of 10,000 lines, and one as large as allowed, are stored in one write each", async () => {
    const { url, file } = await startHere({ MAX_MESSAGE_BYTES: 1024 * 1024 });
    expect((await postMany(url, bodyOf(numbered(10_000)))).status).toBe(200);
    const overhead = bodyOf([""]).length;
    expect((await postMany(url, bodyOf(["x".repeat(1024 * 1024 - overhead)]))).status).toBe(200);
    expect(await entriesOf(file)).toHaveLength(10_001);
    const page = await (await fetch(`${url}/metrics`)).text();
    expect(sample(page, "log_batch_lines_count")).toBe(2);
    expect(sample(page, "log_batch_lines_sum")).toBe(10_001);
    expect(sample(page, 'log_writes_total{result="success"}')).toBe(10_001);
    expect(sample(page, "log_queue_depth")).toBe(0);
  });

  test("a body that ends too early stores nothing, and the service goes on", async () => {
    const { url, file } = await startHere();
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    await once(socket, "connect");
    socket.write(`POST /logs HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n${bodyOf(["a", "b"])}`);
    await new Promise((done) => setTimeout(done, 100));
    socket.destroy();
    expect((await postMany(url, bodyOf(["c"]))).status).toBe(200);
    expect(await entriesOf(file)).toMatchObject([{ message: "c" }]);
  });

  test.each([
    ["/dev/full", 507],
    ["/dev/null", 503],
  ])(
    "where the file is %s the answer is %i, every line counts as failed, and a retry stores them",
    async (device, status) => {
      const LOG_DIR = await temporaryDirectory();
      await symlink(device, join(LOG_DIR, "app.log"));
      const { url, file } = await startHere({ LOG_DIR });
      const key = { "Idempotency-Key": "k" };
      await expectProblem(await postMany(url, bodyOf(["a", "b"]), key), status);
      const page = await (await fetch(`${url}/metrics`)).text();
      expect(sample(page, 'log_writes_total{result="failure"}')).toBe(2);
      await rm(file);
      expect((await postMany(url, bodyOf(["a", "b"]), key)).status).toBe(200);
      expect(await entriesOf(file)).toMatchObject([{ id: "k:1" }, { id: "k:2" }]);
    },
  );
});

describe("a retry of POST /logs", () => {
  const attempt = (count: number) => ({ "x-request-id": "r1", "x-envoy-attempt-count": String(count) });

  test.each([
    ["of a proxy", attempt(1), attempt(2)],
    ["under the same key", { "Idempotency-Key": "k" }, { "Idempotency-Key": "k", "x-request-id": "another" }],
  ])("%s is answered and adds no line", async (_what, first, second) => {
    const { url, file } = await startHere();
    const body = bodyOf(numbered(300));
    for (const headers of [first, second]) {
      const answer = await postMany(url, body, headers as Record<string, string>);
      expect(await answer.json()).toEqual({ status: "ok", lines: 300 });
    }
    expect(await entriesOf(file)).toHaveLength(300);
    const page = await (await fetch(`${url}/metrics`)).text();
    expect(sample(page, "log_retries_total")).toBe(1);
    expect(sample(page, 'log_writes_total{result="success"}')).toBe(300);
  });

  test("is none with other messages, another key, or without a mark", async () => {
    const { url, file } = await startHere();
    const requests: [string[], Record<string, string>][] = [
      [["a", "b"], { "Idempotency-Key": "k" }],
      [["a", "b", "c"], { "Idempotency-Key": "l" }],
      [["b", "a"], { "Idempotency-Key": "k" }],
      [["a\nb"], { "Idempotency-Key": "k" }],
      [["a", "b"], { "x-request-id": "r" }],
      [["a", "b"], { "x-request-id": "r" }],
    ];
    for (const [messages, headers] of requests)
      expect((await postMany(url, bodyOf(messages), headers)).status).toBe(200);
    expect(await entriesOf(file)).toHaveLength(12);
  });

  test("keeps apart what POST /log and POST /logs stored under one key", async () => {
    const { url, file } = await startHere();
    const headers = { "Idempotency-Key": "k", "Content-Type": "application/json" };
    await fetch(`${url}/log`, { method: "POST", body: '{"message":"a"}', headers });
    await postMany(url, bodyOf(["a"]), headers);
    expect((await entriesOf(file)).map(({ id }) => id)).toEqual(["k", "k:1"]);
  });

  test("after a restart adds the lines that the log lacks, and no other", slow, async () => {
    const LOG_DIR = await temporaryDirectory();
    const first = await startHere({ LOG_DIR });
    const messages = [...numbered(9_998), "a\\b\nc\u0000", "last"];
    await postMany(first.url, bodyOf(messages), attempt(1));
    const lines = (await readFile(first.file, "utf8")).split(/(?<=\n)/);
    // As a kill leaves it: the end is missing, and half a line stands there.
    await writeFile(first.file, `${lines.slice(0, 9_000).join("")}${lines[9_000]?.slice(0, 10)}`);
    const second = await startHere({ LOG_DIR });
    expect((await postMany(second.url, bodyOf(messages), attempt(2))).status).toBe(200);
    const stored = (await entriesOf(second.file)).map(({ id, message }) => `${id} ${message}`);
    expect(stored).toEqual(messages.map((message, index) => `r1:${index + 1} ${message}`));
    const third = await startHere({ LOG_DIR });
    expect((await postMany(third.url, bodyOf(messages), attempt(3))).status).toBe(200);
    expect(await entriesOf(third.file)).toHaveLength(10_000);
  });

  test("waits for the first attempt, which is not answered before fdatasync returns", slow, async () => {
    const gate = await temporaryDirectory();
    const service = await ServiceProcess.start({ DRAIN_SECONDS: "0" }, { SYNC_GATE: gate });
    const url = `http://127.0.0.1:${await service.port()}`;
    await writeFile(join(gate, "hold"), "");
    let answered = 0;
    const answers = [1, 2].map((count) =>
      postMany(url, bodyOf(["a", "b"]), attempt(count)).finally(() => {
        answered += 1;
      }),
    );
    await expect.poll(() => existsSync(join(gate, "holding"))).toBe(true);
    for (let count = 0; count < 20; count++) await (await fetch(`${url}/status`)).text();
    expect(answered).toBe(0);
    expect(await (await fetch(`${url}/logs`)).text()).toBe("");
    await rm(join(gate, "hold"));
    for (const answer of await Promise.all(answers)) expect(answer.status).toBe(200);
    expect(await entriesOf(service.file)).toHaveLength(2);
  });

  test("is refused with the line of another request that it took for its own", async () => {
    const gate = await temporaryDirectory();
    const service = await ServiceProcess.start({ DRAIN_SECONDS: "0" }, { SYNC_GATE: gate });
    const url = `http://127.0.0.1:${await service.port()}`;
    await writeFile(join(gate, "hold"), "");
    const first = postMany(url, bodyOf(["first"]));
    await expect.poll(() => existsSync(join(gate, "holding"))).toBe(true);
    // Both wait for the next write, which fails.
    const headers = { "Idempotency-Key": "k:1" };
    const single = fetch(`${url}/log`, { method: "POST", body: '{"message":"a"}', headers });
    for (let count = 0; count < 20; count++) await (await fetch(`${url}/status`)).text();
    const many = postMany(url, bodyOf(["a"]), { "Idempotency-Key": "k" });
    for (let count = 0; count < 20; count++) await (await fetch(`${url}/status`)).text();
    await writeFile(join(gate, "fail"), "");
    await rm(join(gate, "hold"));
    const statuses = (await Promise.all([first, single, many])).map(({ status }) => status);
    expect(statuses).toEqual([200, 503, 503]);
    await rm(join(gate, "fail"));
    expect((await postMany(url, bodyOf(["a"]), { "Idempotency-Key": "k" })).status).toBe(200);
    expect((await entriesOf(service.file)).map(({ id }) => id).at(-1)).toBe("k:1");
  });

  test("a sync that fails takes every line out again", async () => {
    const gate = await temporaryDirectory();
    const service = await ServiceProcess.start({ DRAIN_SECONDS: "0" }, { SYNC_GATE: gate });
    const url = `http://127.0.0.1:${await service.port()}`;
    expect((await postMany(url, bodyOf(["before"]))).status).toBe(200);
    await writeFile(join(gate, "fail"), "");
    await expectProblem(await postMany(url, bodyOf(numbered(500))), 503);
    await rm(join(gate, "fail"));
    expect((await postMany(url, bodyOf(["after"]))).status).toBe(200);
    expect((await entriesOf(service.file)).map(({ message }) => message)).toEqual(["before", "after"]);
  });
});

test("kill -9 under POST /logs: what was acknowledged is stored once, over repeats", {
  ...slow,
  timeout: 60_000,
}, async () => {
  const LOG_DIR = await temporaryDirectory();
  const settings = { LOG_DIR, DRAIN_SECONDS: "0", MAX_FILE_BYTES: "300000", KEPT_FILES: "100" };
  const senders = Array.from({ length: 5 }, (_, index) => ({ name: `sender-${index}`, sent: 0 }));
  for (let run = 0; run < 3; run++) {
    const service = await ServiceProcess.start(settings);
    const url = `http://127.0.0.1:${await service.port()}`;
    let killed = false;
    const work = senders.map(async (sender) => {
      while (!killed) {
        const name = `${sender.name}-${sender.sent}`;
        const body = bodyOf(numbered(50, name));
        const answer = await postMany(url, body, { "Idempotency-Key": name }).catch(() => undefined);
        if (!answer) return;
        expect(answer.status).toBe(200);
        sender.sent += 1;
      }
    });
    const enough = senders.reduce((sum, { sent }) => sum + sent, 0) + 20;
    await expect
      .poll(() => senders.reduce((sum, { sent }) => sum + sent, 0), { timeout: 20_000 })
      .toBeGreaterThan(enough);
    service.child.kill("SIGKILL");
    killed = true;
    await Promise.all(work);
    await service.exited;
  }
  const last = await ServiceProcess.start(settings);
  const url = `http://127.0.0.1:${await last.port()}`;
  // Each repeats what it got no answer for.
  for (const sender of senders) {
    const name = `${sender.name}-${sender.sent}`;
    expect((await postMany(url, bodyOf(numbered(50, name)), { "Idempotency-Key": name })).status).toBe(200);
    sender.sent += 1;
  }
  const text = await (await fetch(`${url}/logs`)).text();
  const stored = text.split(/(?<=\n)/).map((line) => parseLine(line).message);
  const expected = senders.flatMap(({ name, sent }) =>
    Array.from({ length: sent }, (_, index) => numbered(50, `${name}-${index}`)).flat(),
  );
  expect(stored.toSorted()).toEqual(expected.toSorted());
});

describe("ACCESS_LOG", () => {
  const routes = (output: Record<string, unknown>[]) =>
    output.filter(({ msg }) => msg === "request").map(({ route, status, level }) => [route, status, level]);

  async function requestsOf(settings: Parameters<typeof startHere>[0]) {
    const { url, output } = await startHere(settings);
    await (await postMany(url, bodyOf(["a"]))).text();
    await (await fetch(`${url}/log`, { method: "POST", body: '{"message":"a"}' })).text();
    await (await fetch(`${url}/logs`)).text();
    await (await fetch(`${url}/wrong`)).text();
    await (await fetch(`${url}/log`, { method: "POST", body: "{}" })).text();
    return output;
  }

  test("all: a line for each request", async () => {
    const output = await requestsOf({ ACCESS_LOG: "all" });
    await expect.poll(() => routes(output)).toHaveLength(5);
  });

  test("problems: a line for those that failed", async () => {
    const output = await requestsOf({ ACCESS_LOG: "problems" });
    await expect
      .poll(() => routes(output))
      .toEqual([
        ["unmatched", 404, 30],
        ["/log", 400, 30],
      ]);
  });

  test("problems: the others are there at level debug", async () => {
    const output = await requestsOf({ ACCESS_LOG: "problems", LOG_LEVEL: "debug" });
    await expect.poll(() => routes(output)).toHaveLength(5);
    expect(routes(output)[0]).toEqual(["/logs", 200, 20]);
  });

  test("problems: a line for one that took a second, and for a caller that left", slow, async () => {
    const { url, output } = await startHere({ ACCESS_LOG: "problems" });
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    await once(socket, "connect");
    socket.write('POST /log HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\n{"message"');
    await new Promise((done) => setTimeout(done, 1100));
    socket.write(':"a"}');
    await once(socket, "data");
    expect(routes(output)).toEqual([["/log", 200, 30]]);
    socket.write("POST /log HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\n{");
    await new Promise((done) => setTimeout(done, 50));
    socket.destroy();
    await expect.poll(() => routes(output)).toHaveLength(2);
    expect(routes(output)[1]).toEqual(["/log", 499, 30]);
  });
});
