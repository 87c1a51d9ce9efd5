// @module-tag slow
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { entriesOf, ServiceProcess } from "./running.ts";

const mib = 1024 * 1024;
// As the Deployment's memory limit has it, for everything in the pod's container.
const limit = 256 * mib;

/** What the Dockerfile starts Node with. */
const flags = readFileSync("Dockerfile", "utf8").match(/--[\w-]+=\d+/g) ?? [];

interface Attack {
  path: "/log" | "/logs";
  /** How many senders there are at once. */
  senders: number;
  /** How many requests each sends. */
  times: number;
  body: Buffer;
  headers?: Record<string, string>;
  /** Whether each byte of the body is a chunk of its own. */
  pieces?: boolean;
}

const bodyOf = (message: string, lines = 1): Buffer =>
  Buffer.from(Array.from({ length: lines }, () => `{"message":"${message}"}`).join("\n"));

const attacks: Record<string, Attack> = {
  "many batches": { path: "/logs", senders: 100, times: 2, body: bodyOf("x".repeat(4096), 100) },
  "largest batches of many senders": {
    path: "/logs",
    senders: 150,
    times: 1,
    body: bodyOf("x".repeat(32_000), 32),
  },
  // As text, each byte takes eight: four characters, of two bytes each because of the first one.
  "characters that grow eight times": {
    path: "/logs",
    senders: 40,
    times: 1,
    body: bodyOf(`\u0100${"\u007f".repeat(32_000)}`, 32),
  },
  "short lines under long ids": {
    path: "/logs",
    senders: 60,
    times: 1,
    body: bodyOf("x", 10_000),
    headers: { "x-request-id": "x".repeat(128) },
  },
  "pieces of a byte": {
    path: "/logs",
    senders: 8,
    times: 1,
    body: bodyOf("x".repeat(32_000), 16),
    pieces: true,
  },
  "largest single lines": { path: "/log", senders: 300, times: 2, body: bodyOf("x".repeat(32_000)) },
  "single lines that grow eight times": {
    path: "/log",
    senders: 300,
    times: 1,
    body: bodyOf(`\u0100${"\u007f".repeat(32_000)}`),
  },
};

test.each(Object.entries(attacks))(
  "%s stay below the pod's memory",
  async (_, attack) => {
    const service = await ServiceProcess.start(
      { ACCESS_LOG: "problems", MAX_FILE_BYTES: String(1024 * mib) },
      {},
      flags,
    );
    const port = await service.port();
    const payload = payloadOf(attack);
    const senders = Array.from({ length: attack.senders }, () => send(port, attack, payload));
    const statuses = (await Promise.all(senders)).flat();
    expect(peakOf(service)).toBeLessThan(limit);
    expect(statuses.filter((status) => status !== 200 && status !== 503)).toEqual([]);
    const stored = statuses.filter((status) => status === 200).length;
    expect(stored).toBeGreaterThan(0);
    const lines = attack.path === "/log" ? 1 : attack.body.toString().split("\n").length;
    expect(await entriesOf(service.file)).toHaveLength(stored * lines);
  },
  300_000,
);

/** Sends the attack's requests one after the other on one connection. @returns their statuses */
async function send(port: number, attack: Attack, payload: Buffer): Promise<number[]> {
  const socket = connect(port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  await once(socket, "connect");
  const statuses: number[] = [];
  while (statuses.length < attack.times) {
    socket.write(payload);
    statuses.push(await statusOf(socket));
  }
  return statuses;
}

/** The status of the answer that comes next, once all of it is there. */
async function statusOf(socket: Socket): Promise<number> {
  for (let answer = ""; ; ) {
    const [chunk] = (await once(socket, "data")) as [Buffer];
    answer += chunk.toString("latin1");
    const [head, status, length] = /^HTTP\/1.1 (\d+).*?content-length: (\d+).*?\r\n\r\n/is.exec(answer) ?? [];
    if (head && answer.length >= head.length + Number(length)) return Number(status);
  }
}

function payloadOf({ path, body, headers = {}, pieces }: Attack): Buffer {
  const length = pieces ? { "Transfer-Encoding": "chunked" } : { "Content-Length": body.length };
  const fields = Object.entries({ Host: "app", ...headers, ...length }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  const head = Buffer.from(`POST ${path} HTTP/1.1\r\n${fields.join("")}\r\n`);
  if (!pieces) return Buffer.concat([head, body]);
  const chunks = [...body.toString("latin1")].map((byte) => `1\r\n${byte}\r\n`);
  return Buffer.concat([head, Buffer.from(`${chunks.join("")}0\r\n\r\n`, "latin1")]);
}

function peakOf(service: ServiceProcess): number {
  const status = readFileSync(`/proc/${service.child.pid}/status`, "utf8");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}
