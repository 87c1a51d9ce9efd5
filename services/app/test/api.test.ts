import { once } from "node:events";
import { mkdir, readFile, rm, stat, symlink } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pino } from "pino";
import { describe, expect, onTestFinished, test } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import { createApi } from "../src/api.ts";
import { loadConfig } from "../src/config.ts";
import { LogFile } from "../src/log-file.ts";
import { createMetrics } from "../src/metrics.ts";
import { RetryWindow } from "../src/retries.ts";
import { Room } from "../src/room.ts";
import { entriesOf, expectProblem, post, sample, startHere, temporaryDirectory } from "./running.ts";

describe("fixed answers", () => {
  test("GET / greets in plain text", async () => {
    const { url } = await startHere();
    const response = await fetch(url);
    expect(response.headers.get("content-type")).toBe("text/plain; charset=utf-8");
    expect(await response.text()).toBe("Welcome to the custom app");
  });

  test("GET / greets as configured", async () => {
    const { url } = await startHere({ GREETING: "Bonjour à <tous>" });
    expect(await (await fetch(url)).text()).toBe("Bonjour à <tous>");
  });

  test("GET /status", async () => {
    const { url } = await startHere();
    const response = await fetch(`${url}/status`);
    expect(response.headers.get("content-type")).toMatch(/^application\/json/);
    expect(await response.text()).toBe('{"status":"ok"}');
  });

  test.each(["/wrong", "/log/more", "/%ff", "/app.log"])("%s is the service's own 404", async (path) => {
    const { url } = await startHere();
    const problem = await expectProblem(await fetch(url + path), 404);
    expect(problem.detail).toContain(path);
  });

  test.each([
    ["GET", "/log", "POST"],
    ["DELETE", "/logs", "GET, HEAD, POST"],
    ["POST", "/", "GET, HEAD"],
  ])("%s %s is 405", async (method, path, allowed) => {
    const { url } = await startHere();
    const response = await fetch(url + path, { method });
    expect(response.headers.get("allow")).toBe(allowed);
    await expectProblem(response, 405);
  });
});

describe("POST /log", () => {
  test("the line is in the file when the answer arrives", async () => {
    const { url, file } = await startHere();
    for (const message of ["first", "second", "third"]) {
      const before = Date.now();
      const response = await post(url, message, { "x-request-id": `id-${message}` });
      const entry = (await entriesOf(file)).at(-1);
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual({ status: "ok" });
      expect(entry).toMatchObject({ id: `id-${message}`, message });
      expect(entry?.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      expect(Date.parse(entry?.time ?? "")).toBeGreaterThanOrEqual(before);
    }
    expect((await entriesOf(file)).map(({ message }) => message)).toEqual(["first", "second", "third"]);
  });

  test("concurrent messages are all stored, each once, under the ids of their answers", async () => {
    const { url, file } = await startHere();
    const messages = Array.from({ length: 300 }, (_, index) => `message ${index}`);
    const acknowledged = await Promise.all(
      messages.map(async (message) => {
        const response = await post(url, message);
        expect(response.status).toBe(200);
        await response.text();
        return `${response.headers.get("x-request-id")} ${message}`;
      }),
    );
    const stored = (await entriesOf(file)).map(({ id, message }) => `${id} ${message}`);
    expect(stored.sort()).toEqual(acknowledged.sort());
  });

  test.each(["a\nb\r\nc\\n\\", "日本語 🦉", " spaces ", "\t\0", "\u001b[2J\b\f", "\u007f\u0085\u009b2J"])(
    "%j comes back, and no control character but the tab reaches a reader's terminal",
    async (message) => {
      const { url, file } = await startHere();
      expect((await post(url, message)).status).toBe(200);
      expect((await entriesOf(file)).map((entry) => entry.message)).toEqual([message]);
      const body = await (await fetch(`${url}/logs`)).text();
      expect(body.slice(0, -1)).not.toMatch(/(?!\t)\p{Cc}/u);
    },
  );

  test("the longest line: 4 MiB of characters that take four bytes each", slow, async () => {
    const limit = 4 * 1024 * 1024;
    const { url, file } = await startHere({ MAX_BODY_BYTES: limit, MAX_MESSAGE_BYTES: limit });
    const message = "\u007f".repeat(limit - '{"message":""}'.length);
    expect((await post(url, message, { "x-request-id": "i".repeat(128) })).status).toBe(200);
    const [entry] = await entriesOf(file);
    expect(entry?.message === message).toBe(true);
    // What gitops/apps/log-agent/base/agent/collector.yaml (max_log_size) has to hold.
    expect((await stat(file)).size).toBeLessThan(17 * 1024 * 1024);
    expect((await stat(file)).size).toBeGreaterThan(15.9 * 1024 * 1024);
  });

  test.each([
    "application/json",
    "application/x-www-form-urlencoded",
    "text/plain; charset=iso-8859-1",
    "nonsense",
  ])("the body is JSON in UTF-8 even as %s", async (type) => {
    const { url, file } = await startHere();
    expect((await post(url, "é", { "Content-Type": type })).status).toBe(200);
    expect((await entriesOf(file)).map((entry) => entry.message)).toEqual(["é"]);
  });

  test("a body without a Content-Type, as a bare client sends it", async () => {
    const { url, file } = await startHere();
    const body = '{"message":"bare"}';
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    socket.write(
      `POST /log HTTP/1.1\r\nHost: app\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 /);
    expect((await entriesOf(file)).map((entry) => entry.message)).toEqual(["bare"]);
  });

  test.each([["has space"], ["x".repeat(129)], ["<script>"], [""]])(
    "the request id %j is replaced by a UUID",
    async (id) => {
      const { url, file } = await startHere();
      const response = await post(url, "hello", { "x-request-id": id });
      const [entry] = await entriesOf(file);
      expect(entry?.id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      expect(response.headers.get("x-request-id")).toBe(entry?.id);
    },
  );

  test.each([
    ['{"message":""}', "message must not be empty"],
    ["{}", "message is missing"],
    ['{"message":7}', "message must be a string"],
    ['{"message":null}', "message must be a string"],
    ['{"message":["a"]}', "message must be a string"],
    ['{"message":"\\ud800"}', "message must not hold half a surrogate pair"],
  ])("%s: 400 that names the field", async (body, detail) => {
    const { url } = await startHere();
    const problem = await expectProblem(await fetch(`${url}/log`, { method: "POST", body }), 400);
    expect(problem).toMatchObject({ detail, errors: [{ field: "message", detail }] });
  });

  test.each([
    ["nothing", ""],
    ["half an object", '{"message":'],
    ["a form", "message=test"],
    ["invalid UTF-8", Buffer.from('{"message":"\xe9"}', "latin1")],
    ["a list", "[1]"],
    ["a string", '"message"'],
    ["null", "null"],
  ])("%s as the body: 400", async (_what, body) => {
    const { url } = await startHere();
    const problem = await expectProblem(await fetch(`${url}/log`, { method: "POST", body }), 400);
    expect(problem.detail).toMatch(/^the body must be (a )?JSON/);
  });

  test("bad calls write nothing and count as neither success nor failure", async () => {
    const { url, file } = await startHere();
    await post(url, "");
    await fetch(`${url}/log`, { method: "POST", body: "{" });
    expect(await readFile(file, "utf8")).toBe("");
    const page = await (await fetch(`${url}/metrics`)).text();
    expect(sample(page, "log_requests_total")).toBe(2);
    expect(sample(page, 'log_writes_total{result="success"}')).toBe(0);
    expect(sample(page, 'log_writes_total{result="failure"}')).toBe(0);
  });

  test("a body too large is 413, the largest allowed is stored", async () => {
    const { url, file } = await startHere({ MAX_BODY_BYTES: 2000, MAX_MESSAGE_BYTES: 4000 });
    const frame = JSON.stringify({ message: "" }).length;
    const largest = "x".repeat(2000 - frame);
    const problem = await expectProblem(await post(url, `${largest}x`), 413);
    expect(problem.detail).toBe("the body must not be larger than 2000 bytes");
    expect((await post(url, largest)).status).toBe(200);
    expect((await entriesOf(file)).map((entry) => entry.message)).toEqual([largest]);
  });

  test("a body too large without a length is 413, and its connection stays usable", async () => {
    const { url } = await startHere({ MAX_BODY_BYTES: 2000 });
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    const chunk = `7d0\r\n${"x".repeat(2000)}\r\n`;
    socket.write("POST /log HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n");
    socket.write(`${chunk}${chunk}0\r\n\r\n`);
    socket.write("GET /status HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n");
    const answers = await text(socket);
    expect(answers).toMatch(/^HTTP\/1\.1 413 /);
    expect(answers).toContain("HTTP/1.1 200 ");
    expect(answers).toMatch(/\{"status":"ok"\}$/);
  });

  test("a message too long in bytes is 400, the longest allowed is stored", async () => {
    const { url, file } = await startHere({ MAX_MESSAGE_BYTES: 10 });
    const detail = "message must not be longer than 10 bytes in UTF-8";
    const problem = await expectProblem(await post(url, "ééééé!"), 400);
    expect(problem).toMatchObject({ detail, errors: [{ field: "message", detail }] });
    expect((await post(url, "ééééé")).status).toBe(200);
    expect((await entriesOf(file)).map((entry) => entry.message)).toEqual(["ééééé"]);
  });

  test.each(["gzip", "GZIP", "identity, br", "Identity,deflate", "x-identity"])(
    "a body encoded as %s is 415",
    async (encoding) => {
      const { url } = await startHere();
      const problem = await expectProblem(await post(url, "hello", { "Content-Encoding": encoding }), 415);
      expect(problem.detail).toContain(encoding.replace(/^identity, ?/i, ""));
    },
  );

  test.each(["identity", "Identity", "IDENTITY", "identity, Identity", ""])(
    "a body encoded as %j is sent as it is",
    async (encoding) => {
      const { url, file } = await startHere();
      expect((await post(url, "hello", { "Content-Encoding": encoding })).status).toBe(200);
      expect(await entriesOf(file)).toHaveLength(1);
    },
  );

  test.each(["/log/", "/LOG", "/Log/", "/log?a=b"])("%s is the same to POST to", async (path) => {
    const { url, file } = await startHere();
    const response = await fetch(url + path, { method: "POST", body: '{"message":"hello"}' });
    expect(response.status).toBe(200);
    const [entry] = await entriesOf(file);
    expect(entry).toMatchObject({ message: "hello", id: response.headers.get("x-request-id") });
    await expectProblem(await fetch(url + path, { method: "POST", body: "{" }), 400);
    expect(sample(await (await fetch(`${url}/metrics`)).text(), "log_requests_total")).toBe(2);
  });

  test.each([
    ["a full disk", "/dev/full", 507],
    ["a disk that does not synchronise", "/dev/null", 503],
  ])("%s: an error, counted as failed, until it is over", async (_what, device, status) => {
    const LOG_DIR = await temporaryDirectory();
    await symlink(device, join(LOG_DIR, "app.log"));
    const { url, file, output } = await startHere({ LOG_DIR });
    await expectProblem(await post(url, "secret"), status);
    await rm(file);
    expect((await post(url, "again")).status).toBe(200);
    expect((await entriesOf(file)).map((entry) => entry.message)).toEqual(["again"]);
    const page = await (await fetch(`${url}/metrics`)).text();
    expect(sample(page, 'log_writes_total{result="failure"}')).toBe(1);
    expect(sample(page, 'log_writes_total{result="success"}')).toBe(1);
    expect(output.filter(({ level }) => level === 50)).toHaveLength(1);
    expect(JSON.stringify(output)).not.toContain("secret");
  });
});

describe("probes", () => {
  test("live and ready", async () => {
    const { url } = await startHere();
    for (const path of ["/livez", "/readyz"]) expect((await fetch(url + path)).status).toBe(200);
  });

  test("live but not ready while the log is not writable, ready when it is", async () => {
    const LOG_DIR = join(await temporaryDirectory(), "logs");
    const { url } = await startHere({ LOG_DIR });
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    await expectProblem(await fetch(`${url}/readyz`), 503);
    await mkdir(LOG_DIR);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  });

  test("a draining service is live, not ready, and still answers, closing its connections", async () => {
    const directory = await temporaryDirectory();
    const config = loadConfig(directory, {});
    const log = new LogFile(join(directory, "app.log"), config);
    const rooms = { line: new Room(1000), lines: new Room(1000) };
    const context = { config, log, metrics: createMetrics(), retries: new RetryWindow(), rooms };
    const api = createApi({ ...context, draining: true, logger: pino({ level: "silent" }) });
    const server = createServer(api).listen(0, "127.0.0.1");
    onTestFinished(async () => {
      server.close();
      await log.close();
    });
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    await expectProblem(await fetch(`${url}/readyz`), 503);
    const response = await post(url, "last");
    expect(response.status).toBe(200);
    expect(response.headers.get("connection")).toBe("close");
  });
});

describe("the service's own log", () => {
  test("has requests at info but for probes, and never a message", async () => {
    const { url, output } = await startHere();
    for (const path of ["/livez", "/readyz", "/metrics", "/status"]) await (await fetch(url + path)).text();
    await (await post(url, "confidential", { "x-request-id": "the-id" })).text();
    const requests = () => output.filter(({ msg }) => msg === "request");
    await expect.poll(() => requests().map(({ route }) => route)).toEqual(["/status", "/log"]);
    expect(requests()[1]).toMatchObject({ level: 30, requestId: "the-id", method: "POST", status: 200 });
    expect(JSON.stringify(output)).not.toContain("confidential");
  });

  test("has probes too at debug, and nothing of this at warn", async () => {
    const loud = await startHere({ LOG_LEVEL: "debug" });
    const quiet = await startHere({ LOG_LEVEL: "warn" });
    for (const { url } of [loud, quiet]) await (await fetch(`${url}/livez`)).text();
    await expect.poll(() => loud.output.map(({ route }) => route)).toContain("/livez");
    expect(quiet.output).toEqual([]);
  });
});
