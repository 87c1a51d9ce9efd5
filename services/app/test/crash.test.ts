// @module-tag slow
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseLine } from "../src/line.ts";
import { post, ServiceProcess, temporaryDirectory } from "./running.ts";

const kills = Number(process.env.KILLS ?? 3);

/** A client that sends one message after the other, each until it is acknowledged, over restarts too. */
class Client {
  readonly acknowledged: string[] = [];
  readonly name: string;
  #attempt = 0;

  constructor(name: string) {
    this.name = name;
  }

  get #message(): string {
    return `${this.name} message ${this.acknowledged.length}`;
  }

  /** Sends until `more` says no or the service is gone. */
  async run(url: string, more: () => boolean): Promise<void> {
    while (more()) {
      this.#attempt += 1;
      const headers = {
        "x-request-id": `${this.name}-${this.acknowledged.length}`,
        "x-envoy-attempt-count": String(this.#attempt),
      };
      const response = await post(url, this.#message, headers).catch(() => undefined);
      if (!response) return;
      expect(response.status).toBe(200);
      this.acknowledged.push(this.#message);
      this.#attempt = 0;
      await response.text().catch(() => undefined);
    }
  }
}

test(`kill -9 under load, ${kills} times: each acknowledged line is stored once, and no half line is served`, {
  timeout: 60_000 + kills * 20_000,
}, async () => {
  const LOG_DIR = await temporaryDirectory();
  // Small files, so that kills come close to rotations, and enough of them to keep every line.
  const MAX_FILE_BYTES = String(10_000 + 200 * kills);
  const settings = { LOG_DIR, DRAIN_SECONDS: "0", MAX_FILE_BYTES, KEPT_FILES: "100" };
  const clients = Array.from({ length: 20 }, (_, index) => new Client(`client-${index}`));
  const acknowledged = () => clients.flatMap((client) => client.acknowledged);

  const start = async () => {
    const service = await ServiceProcess.start(settings);
    const url = `http://127.0.0.1:${await service.port()}`;
    const body = await (await fetch(`${url}/logs`)).text();
    expect(body).toMatch(/(^|\n)$/);
    const stored = body === "" ? [] : body.split(/(?<=\n)/).map((line) => parseLine(line).message);
    expect(new Set(stored).size).toBe(stored.length);
    const kept = new Set(stored);
    expect(acknowledged().filter((message) => !kept.has(message))).toEqual([]);
    return { service, url };
  };

  for (let round = 0; round < kills; round++) {
    const { service, url } = await start();
    const enough = acknowledged().length + 40 + ((round * 37) % 101);
    const running = Promise.all(clients.map((client) => client.run(url, () => true)));
    await expect.poll(() => acknowledged().length, { interval: 1 }).toBeGreaterThan(enough);
    service.child.kill("SIGKILL");
    await running;
    await service.exited;
  }

  const { service, url } = await start();
  const targets = new Map(clients.map((client) => [client, client.acknowledged.length + 1]));
  // Each client's open message first: it may have been stored without an answer.
  await Promise.all(
    clients.map((client) => client.run(url, () => client.acknowledged.length < (targets.get(client) ?? 0))),
  );
  service.child.kill("SIGTERM");
  expect(await service.exited).toBe(0);
  const files = (await readdir(LOG_DIR)).map((name) => join(LOG_DIR, name));
  const lines = (await Promise.all(files.map((file) => readFile(file, "utf8")))).join("").split(/(?<=\n)/);
  const stored = lines.map((line) => parseLine(line).message);
  expect(files.length).toBeGreaterThan(1);
  expect(stored.toSorted()).toEqual(acknowledged().toSorted());
});

test(`kill -9 under load, ${kills} times, while files are dropped: each line is counted once in the positions`, {
  timeout: 60_000 + kills * 20_000,
}, async () => {
  const LOG_DIR = await temporaryDirectory();
  const settings = { LOG_DIR, DRAIN_SECONDS: "0", MAX_FILE_BYTES: "2500", KEPT_FILES: "2" };
  const clients = Array.from({ length: 20 }, (_, index) => new Client(`client-${index}`));
  const acknowledged = () => clients.flatMap((client) => client.acknowledged);
  const start = async () => {
    const service = await ServiceProcess.start(settings);
    return { service, url: `http://127.0.0.1:${await service.port()}` };
  };
  const bounds = async (url: string) => {
    const { headers } = await fetch(`${url}/logs`, { method: "HEAD" });
    const start = Number(headers.get("log-start"));
    return { start, end: start + Number(headers.get("content-length")) };
  };

  let reached = 0;
  for (let round = 0; round < kills; round++) {
    const { service, url } = await start();
    expect((await bounds(url)).end).toBeGreaterThanOrEqual(reached);
    const enough = acknowledged().length + 400 + ((round * 37) % 101);
    const running = Promise.all(clients.map((client) => client.run(url, () => true)));
    await expect.poll(() => acknowledged().length, { interval: 1 }).toBeGreaterThan(enough);
    reached = (await bounds(url)).end;
    service.child.kill("SIGKILL");
    await running;
    await service.exited;
  }

  const { url } = await start();
  const targets = new Map(clients.map((client) => [client, client.acknowledged.length + 1]));
  await Promise.all(
    clients.map((client) => client.run(url, () => client.acknowledged.length < (targets.get(client) ?? 0))),
  );
  // A line is a time of 24 bytes, the request's id, the message, two spaces and a newline.
  const lengths = clients.flatMap((client) =>
    client.acknowledged.map((message, index) => 27 + `${client.name}-${index}`.length + message.length),
  );
  const { start: first, end } = await bounds(url);
  expect(first).toBeGreaterThan(0);
  expect(end).toBe(lengths.reduce((sum, length) => sum + length, 0));
});
