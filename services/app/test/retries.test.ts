import { readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import { RetryWindow, retryKey } from "../src/retries.ts";
import { entriesOf, post, sample, startHere, temporaryDirectory } from "./running.ts";

const attempt = (count: number, id = "r1") => ({
  "x-request-id": id,
  "x-envoy-attempt-count": String(count),
});

describe("a retry", () => {
  test("is answered and not written twice, nor counted as a write", async () => {
    const { url, file } = await startHere();
    for (const count of [1, 2, 3]) {
      const response = await post(url, "hello", attempt(count));
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual({ status: "ok" });
    }
    expect(await entriesOf(file)).toMatchObject([{ id: "r1", message: "hello" }]);
    const page = await (await fetch(`${url}/metrics`)).text();
    expect(sample(page, "log_retries_total")).toBe(2);
    expect(sample(page, "log_requests_total")).toBe(3);
    expect(sample(page, 'log_writes_total{result="success"}')).toBe(1);
  });

  test("whose first attempt never arrived is written", async () => {
    const { url, file } = await startHere();
    expect((await post(url, "hello", attempt(2))).status).toBe(200);
    expect((await post(url, "hello", attempt(3))).status).toBe(200);
    expect(await entriesOf(file)).toHaveLength(1);
  });

  test("of a write that failed is written", async () => {
    const LOG_DIR = await temporaryDirectory();
    await symlink("/dev/full", join(LOG_DIR, "app.log"));
    const { url, file } = await startHere({ LOG_DIR });
    expect((await post(url, "hello", attempt(1))).status).toBe(507);
    expect((await post(url, "hello", attempt(2))).status).toBe(507);
    await rm(file);
    expect((await post(url, "hello", attempt(3))).status).toBe(200);
    expect(await entriesOf(file)).toMatchObject([{ id: "r1", message: "hello" }]);
  });

  test("is known after a restart, also where its line lies in a rotated file", async () => {
    const LOG_DIR = await temporaryDirectory();
    const first = await startHere({ LOG_DIR });
    await post(first.url, "a\\b\nc", attempt(1, "r1"));
    await post(first.url, "hello", attempt(1, "r2"));
    const lines = (await readFile(first.file, "utf8")).split(/(?<=\n)/);
    await writeFile(`${first.file}.1`, lines[0] ?? "");
    await writeFile(first.file, lines[1] ?? "");
    const { url, file } = await startHere({ LOG_DIR });
    expect((await post(url, "a\\b\nc", attempt(2, "r1"))).status).toBe(200);
    expect((await post(url, "hello", attempt(2, "r2"))).status).toBe(200);
    expect(await readFile(file, "utf8")).toBe(lines[1]);
  });
});

describe("a retry of a line that was written before a restart", () => {
  const long = "\u001b[31m".repeat(100);
  test.each([
    ["with control characters", "\u001b[31m\u0000\u009b"],
    ["with control characters and backslashes", "\\\u001b\\x1b"],
    ["that is long", long],
    ["with a line separator", "a\u2028b\u2029c"],
    ["with a next line", "a\u0085b"],
  ])("%s adds no line", async (_what, message) => {
    const LOG_DIR = await temporaryDirectory();
    const first = await startHere({ LOG_DIR });
    await post(first.url, message, attempt(1));
    const { url, file } = await startHere({ LOG_DIR });
    expect((await post(url, message, attempt(2))).status).toBe(200);
    expect(await entriesOf(file)).toMatchObject([{ id: "r1", message }]);
  });

  test.each([
    ["with control characters", "\u001b[31m\u0000\u009b"],
    ["with control characters and backslashes", "\\\u001b\\x1b"],
    ["that is long", long],
  ])("%s, by a version that did not escape them, adds no line", async (_what, message) => {
    const LOG_DIR = await temporaryDirectory();
    const line = `2026-01-02T03:04:05.678Z r1 ${message.replaceAll("\\", "\\\\")}\n`;
    await writeFile(join(LOG_DIR, "app.log"), line);
    const { url, file } = await startHere({ LOG_DIR });
    expect((await post(url, message, attempt(2))).status).toBe(200);
    expect(await readFile(file, "utf8")).toBe(line);
  });
});

describe("not a retry, and written", () => {
  test("the same message under the same id without a sign of a retry", async () => {
    const { url, file } = await startHere();
    await post(url, "hello", { "x-request-id": "r1" });
    await post(url, "hello", { "x-request-id": "r1" });
    await post(url, "hello", attempt(1));
    expect(await entriesOf(file)).toHaveLength(3);
  });

  test("another message under the same id", async () => {
    const { url, file } = await startHere();
    await post(url, "one", attempt(1));
    await post(url, "two", attempt(2));
    expect((await entriesOf(file)).map(({ message }) => message)).toEqual(["one", "two"]);
  });

  test("the same message under another id", async () => {
    const { url, file } = await startHere();
    await post(url, "hello", attempt(1, "r1"));
    await post(url, "hello", attempt(2, "r2"));
    expect((await entriesOf(file)).map(({ id }) => id)).toEqual(["r1", "r2"]);
  });

  test.each(["0", "1", "x", ""])("an attempt count of %j", async (count) => {
    const { url, file } = await startHere();
    const headers = { "x-request-id": "r1", "x-envoy-attempt-count": count };
    await post(url, "hello", headers);
    await post(url, "hello", headers);
    expect(await entriesOf(file)).toHaveLength(2);
  });
});

describe("an Idempotency-Key", () => {
  test("makes a request with the same id a retry", async () => {
    const { url, file } = await startHere();
    await post(url, "hello", { "x-request-id": "r1" });
    await post(url, "hello", { "x-request-id": "r1", "Idempotency-Key": "k1" });
    expect(await entriesOf(file)).toHaveLength(1);
  });

  test("is the request's id where there is no other", async () => {
    const { url, file } = await startHere();
    await post(url, "hello", { "Idempotency-Key": "k1" });
    const response = await post(url, "hello", { "Idempotency-Key": "k1" });
    expect(response.headers.get("x-request-id")).toBe("k1");
    expect(await entriesOf(file)).toMatchObject([{ id: "k1" }]);
  });

  test("is known again under the other id that a gateway gives the second attempt", async () => {
    const { url, file } = await startHere();
    await post(url, "hello", { "x-request-id": "r1", "Idempotency-Key": "k1" });
    await post(url, "hello", { "x-request-id": "r2", "Idempotency-Key": "k1" });
    await post(url, "other", { "x-request-id": "r3", "Idempotency-Key": "k1" });
    await post(url, "hello", { "x-request-id": "r4", "Idempotency-Key": "k2" });
    expect(await entriesOf(file)).toMatchObject([
      { id: "k1", message: "hello" },
      { id: "k1", message: "other" },
      { id: "k2", message: "hello" },
    ]);
  });

  test("is what the line begins with, and so is known after a restart", async () => {
    const LOG_DIR = await temporaryDirectory();
    const first = await startHere({ LOG_DIR });
    const answer = await post(first.url, "hello", { "x-request-id": "r1", "Idempotency-Key": "k1" });
    expect(answer.headers.get("x-request-id")).toBe("r1");
    const { url, file } = await startHere({ LOG_DIR });
    await post(url, "hello", { "x-request-id": "r2", "Idempotency-Key": "k1" });
    expect(await entriesOf(file)).toMatchObject([{ id: "k1", message: "hello" }]);
  });
});

test("the window is bounded: it holds the last 10 000, and forgets what came 20 000 before", slow, () => {
  const window = new RetryWindow();
  const done = Promise.resolve();
  const key = (index: number) => retryKey("r1", String(index));
  for (let index = 0; index < 50_000; index++) {
    window.remember(key(index), done);
    if (index >= 20_000) expect(window.find(key(index - 20_000))).toBeUndefined();
    if (index >= 9_999) expect(window.find(key(index - 9_999))).toBe(done);
  }
});

test("an id and a message do not run into each other", () => {
  expect(retryKey("a", "b c")).not.toBe(retryKey("a b", "c"));
});
