import { once } from "node:events";
import { readFile, stat } from "node:fs/promises";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import { parseLine } from "../src/line.ts";
import { post, ServiceProcess, sample } from "./running.ts";

async function messagesIn(file: string): Promise<string[]> {
  const content = await readFile(file, "utf8");
  expect(content).toMatch(/(^|\n)$/);
  return content.split(/(?<=\n)/).map((line) => parseLine(line).message);
}

test("SIGTERM under load loses no acknowledged line and exits with 0", async () => {
  const service = await ServiceProcess.start(
    { DRAIN_SECONDS: "0", LOG_LEVEL: "warn" },
    { LOG_LEVEL: "info" },
  );
  const url = `http://127.0.0.1:${await service.port()}`;
  const acknowledged: string[] = [];
  let signalled = false;
  const clients = Array.from({ length: 20 }, async (_, client) => {
    for (let count = 0; ; count++) {
      const message = `client ${client} message ${count}`;
      try {
        const response = await post(url, message);
        await response.text();
        if (response.status === 200) acknowledged.push(message);
      } catch {
        return; // The service is gone.
      }
      if (!signalled && acknowledged.length >= 200) {
        signalled = true;
        service.child.kill("SIGTERM");
      }
    }
  });
  await Promise.all(clients);
  expect(await service.exited).toBe(0);
  const stored = await messagesIn(service.file);
  expect(new Set(stored).size).toBe(stored.length);
  expect(acknowledged.length).toBeGreaterThanOrEqual(200);
  expect(stored).toEqual(expect.arrayContaining(acknowledged));
});

test("SIGTERM lets a request in flight finish", async () => {
  const service = await ServiceProcess.start({ DRAIN_SECONDS: "0" });
  const port = await service.port();
  const body = '{"message":"slow"}';
  const slow = connect(port, "127.0.0.1");
  await once(slow, "connect");
  slow.write(`POST /log HTTP/1.1\r\nHost: app\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 5)}`);
  // An answered request on a later connection: the slow one has been accepted.
  await fetch(`http://127.0.0.1:${port}/status`);
  service.child.kill("SIGTERM");
  await service.logged("draining");
  while (await accepts(port)) await sleep(20);
  slow.write(body.slice(5));
  expect(await text(slow)).toMatch(/^HTTP\/1\.1 200 /);
  expect(await service.exited).toBe(0);
  expect(await messagesIn(service.file)).toEqual(["slow"]);
});

test(
  "a disk that fills up in the middle of a batch keeps the acknowledged lines and no others",
  slow,
  async () => {
    const service = await ServiceProcess.start({ DRAIN_SECONDS: "0" });
    const url = `http://127.0.0.1:${await service.port()}`;
    const acknowledged: string[] = [];
    const send = async (message: string) => {
      const { status } = await post(url, message);
      if (status === 200) acknowledged.push(message);
      return status;
    };
    await send("first");
    service.limitFileSize((await stat(service.file)).size + 250);
    const statuses = await Promise.all(Array.from({ length: 10 }, (_, index) => send(`message ${index}`)));
    expect(new Set(statuses)).toContain(507);
    const stored = await messagesIn(service.file);
    expect(stored.toSorted()).toEqual(acknowledged.toSorted());
    expect(await (await fetch(`${url}/logs`)).text()).toBe(await readFile(service.file, "utf8"));
    service.limitFileSize("unlimited");
    expect(await send("last")).toBe(200);
    expect((await messagesIn(service.file)).toSorted()).toEqual(acknowledged.toSorted());
    const page = await (await fetch(`${url}/metrics`)).text();
    expect(sample(page, 'log_writes_total{result="success"}')).toBe(acknowledged.length);
    expect(sample(page, 'log_writes_total{result="failure"}')).toBe(12 - acknowledged.length);
  },
);

test("a port that is taken ends the process with an error", async () => {
  const first = await ServiceProcess.start({});
  const second = await ServiceProcess.start({ PORT: String(await first.port()) });
  expect(await second.exited).toBe(1);
  expect(second.output).toContain("EADDRINUSE");
});

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
