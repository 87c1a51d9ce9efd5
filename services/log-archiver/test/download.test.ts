import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import { download } from "../src/download.ts";

const directory = mkdtempSync(join(tmpdir(), "download-"));
const file = join(directory, "file");
const content = Buffer.from(Array.from({ length: 20_000 }, (_, i) => `line ${i}\n`).join(""));
let answer: (req: IncomingMessage, res: ServerResponse) => void;
let asked: (string | undefined)[];
let server: Server;
let url: string;

beforeEach(async () => {
  asked = [];
  server = createServer((req, res) => {
    asked.push(req.headers.range);
    answer(req, res);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/logs`;
});
afterEach(() => {
  server.close();
  server.closeAllConnections();
  rmSync(file, { force: true });
});

/** Sends what a range asks for of a file, and breaks off behind `limit` bytes. */
function send(bytes: Buffer, req: IncomingMessage, res: ServerResponse, limit = bytes.length): void {
  const start = Number(/^bytes=(\d+)-$/.exec(req.headers.range ?? "")?.[1] ?? 0);
  if (start >= bytes.length && start > 0) return void res.writeHead(416).end();
  const range = { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` };
  res.writeHead(start > 0 ? 206 : 200, {
    "content-length": bytes.length - start,
    ...(start > 0 ? range : {}),
  });
  const part = bytes.subarray(start, start + limit);
  if (part.length === bytes.length - start) return void res.end(part);
  res.write(part, () => setTimeout(() => res.destroy(), 20));
}

test("fetches a file whole", async () => {
  answer = (req, res) => send(content, req, res);
  expect((await download(url, file)).bytes).toBe(content.length);
  expect(readFileSync(file).equals(content)).toBe(true);
});

test("goes on where a connection broke off, with the lines that came meanwhile", slow, async () => {
  const grown = Buffer.concat([content, Buffer.from("one more\n")]);
  answer = (req, res) => send(asked.length > 1 ? grown : content, req, res, 70_000);
  expect((await download(url, file)).bytes).toBe(grown.length);
  expect(readFileSync(file).equals(grown)).toBe(true);
  expect(asked[0]).toBeUndefined();
  expect(asked[1]).toMatch(/^bytes=[1-9]\d+-$/);
  expect(asked.length).toBeGreaterThan(2);
});

test("begins anew where the file is another one by then, or has become shorter", async () => {
  for (const other of [
    Buffer.from(content.toString().replaceAll("line", "LINE")),
    content.subarray(0, 5000),
  ]) {
    asked = [];
    answer = (req, res) => (asked.length === 1 ? send(content, req, res, 90_000) : send(other, req, res));
    expect((await download(url, file)).bytes).toBe(other.length);
    expect(readFileSync(file).equals(other)).toBe(true);
    expect(asked).toEqual([undefined, expect.stringMatching(/^bytes=/), undefined]);
  }
});

test("takes the whole file where a server knows no ranges", async () => {
  answer = (_req, res) => {
    res.writeHead(200, { "content-length": content.length });
    if (asked.length > 1) return void res.end(content);
    res.write(content.subarray(0, 50_000), () => setTimeout(() => res.destroy(), 20));
  };
  expect((await download(url, file)).bytes).toBe(content.length);
  expect(readFileSync(file).equals(content)).toBe(true);
});

test("gives up on a refusal at once, on a fault after its attempts, and on silence", slow, async () => {
  answer = (_req, res) => void res.writeHead(403).end();
  await expect(download(url, file)).rejects.toThrow(`${url} answers 403`);
  expect(asked).toHaveLength(1);
  answer = (_req, res) => void res.writeHead(503).end();
  await expect(download(url, file, { patience: { attempts: 3, silenceMs: 1000 } })).rejects.toThrow(
    "in 3 attempts",
  );
  expect(asked).toHaveLength(4);
  answer = () => undefined;
  await expect(download(url, file, { patience: { attempts: 1, silenceMs: 100 } })).rejects.toMatchObject({
    cause: { message: "silent for 100 ms" },
  });
  // A length is the only sign that nothing is missing at the end.
  answer = (_req, res) => void res.writeHead(200, { "transfer-encoding": "chunked" }).end("x");
  await expect(download(url, file, { patience: { attempts: 1, silenceMs: 1000 } })).rejects.toMatchObject({
    cause: { message: `${url} does not say how long it is` },
  });
});

test("an empty file is a file", async () => {
  answer = (_req, res) => void res.writeHead(200, { "content-length": 0 }).end();
  expect((await download(url, file)).bytes).toBe(0);
});

test("fetches a part, as much of it as is wanted, and goes on in it after a break", async () => {
  answer = (req, res) => send(content, req, res, asked.length === 1 ? 60_000 : content.length);
  expect(await download(url, file, { start: 1000 })).toMatchObject({
    bytes: content.length - 1000,
    more: false,
  });
  expect(readFileSync(file).equals(content.subarray(1000))).toBe(true);
  expect(asked[0]).toBe("bytes=1000-");
  expect(await download(url, file, { start: 1000, limit: 5000 })).toMatchObject({ bytes: 5000, more: true });
  expect(readFileSync(file).equals(content.subarray(1000, 6000))).toBe(true);
  await expect(download(url, file, { start: content.length })).rejects.toMatchObject({ status: 416 });
});
