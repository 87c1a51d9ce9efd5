import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { ServiceProcess, startHere } from "./running.ts";

test("SIGTERM lets a request in flight finish and ends with 0", async () => {
  const service = new ServiceProcess();
  const { port } = (await service.logged("listening")) as { port: number };
  const slow = connect(port, "127.0.0.1");
  await once(slow, "connect");
  slow.write("GET / HTTP/1.1\r\n");
  // An answered request on a later connection: the slow one has been accepted.
  await (await fetch(`http://127.0.0.1:${port}/status`)).text();
  service.child.kill("SIGTERM");
  await service.logged("draining");
  while (await accepts(port)) await sleep(20);
  slow.write("Host: service\r\n\r\n");
  expect(await text(slow)).toMatch(/^HTTP\/1\.1 200 /);
  expect(await service.exited).toBe(0);
});

test("a stopping service reports itself unready and answers until it is drained", async () => {
  const { url, stop } = await startHere({ drainSeconds: 1 });
  const stopped = stop();
  const response = await fetch(`${url}/readyz`);
  expect(response.status).toBe(503);
  expect(response.headers.get("connection")).toBe("close");
  expect((await fetch(url)).status).toBe(200);
  await stopped;
});

test("a setting that cannot be used ends the process before it listens", async () => {
  const service = new ServiceProcess({ LOG_LEVEL: "loud" });
  expect(await service.exited).toBe(78);
  expect(service.output).toContain("LOG_LEVEL=loud");
});

test("a port that is taken ends the process with an error", async () => {
  const { url } = await startHere();
  const service = new ServiceProcess({ PORT: new URL(url).port });
  expect(await service.exited).toBe(1);
  expect(service.output).toContain("EADDRINUSE");
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
