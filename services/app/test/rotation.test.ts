import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import { parseLine } from "../src/line.ts";
import { post, sample, startHere, temporaryDirectory } from "./running.ts";

const filesOf = async (file: string) => (await readdir(dirname(file))).sort();

/** Sends messages one after the other and returns the ids of those stored. */
async function send(url: string, messages: string[]): Promise<void> {
  for (const message of messages) expect((await post(url, message)).status).toBe(200);
}

const numbered = (count: number, size: number) =>
  Array.from({ length: count }, (_, index) => `${index} ${"x".repeat(size)}`);

test("the file is rotated before it grows beyond its limit, and only so many are kept", async () => {
  const { url, file } = await startHere({ MAX_FILE_BYTES: 5000, KEPT_FILES: 2 });
  // Four lines of some 1080 bytes fit into a file.
  const messages = numbered(22, 1000);
  await send(url, messages);
  expect(await filesOf(file)).toEqual([
    "app.log",
    "app.log.1",
    "app.log.2",
    expect.stringContaining("dropped"),
  ]);
  for (const name of [file, `${file}.1`, `${file}.2`]) {
    expect((await stat(name)).size).toBeLessThanOrEqual(5000);
  }
  const body = await (await fetch(`${url}/logs`)).text();
  const bytes = await Promise.all([`${file}.2`, `${file}.1`, file].map((name) => readFile(name, "utf8")));
  expect(body).toBe(bytes.join(""));
  const shown = body.split(/(?<=\n)/).map((line) => parseLine(line).message);
  expect(shown).toEqual(messages.slice(-shown.length));
  expect(shown).toHaveLength(4 + 4 + 2);
});

test("rotations are counted, and the size is that of the file being written", async () => {
  const { url, file } = await startHere({ MAX_FILE_BYTES: 5000, KEPT_FILES: 9 });
  await send(url, numbered(10, 1000));
  const page = await (await fetch(`${url}/metrics`)).text();
  expect(sample(page, "log_rotations_total")).toBe(2);
  expect(sample(page, "log_file_size_bytes")).toBe((await stat(file)).size);
});

test(
  "concurrent messages are each stored once across many rotations, and every answer meanwhile is whole",
  slow,
  async () => {
    const { url } = await startHere({ MAX_FILE_BYTES: 3000, KEPT_FILES: 100 });
    const messages = numbered(400, 200);
    let writing = true;
    const written = Promise.all(messages.map((message) => post(url, message))).then((responses) => {
      writing = false;
      return responses.map(({ status }) => status);
    });
    const snapshots: string[] = [];
    while (writing) snapshots.push(await (await fetch(`${url}/logs`)).text());
    expect(new Set(await written)).toEqual(new Set([200]));
    const final = await (await fetch(`${url}/logs`)).text();
    for (const snapshot of snapshots) expect(final.startsWith(snapshot)).toBe(true);
    const stored = final.split(/(?<=\n)/).map((line) => parseLine(line).message);
    expect(stored.toSorted()).toEqual(messages.toSorted());
  },
);

test("a lower number of kept files drops the older ones at the next rotation", async () => {
  const LOG_DIR = await temporaryDirectory();
  const file = join(LOG_DIR, "app.log");
  for (const number of [1, 2, 3, 7]) await writeFile(`${file}.${number}`, `generation ${number}\n`);
  await writeFile(file, "current\n".repeat(200));
  const { url } = await startHere({ LOG_DIR, MAX_FILE_BYTES: 1500, KEPT_FILES: 2 });
  await send(url, ["next"]);
  expect(await filesOf(file)).toEqual(["app.log", "app.log.1", "app.log.2", "app.log.dropped.39"]);
  expect(await readFile(`${file}.1`, "utf8")).toBe("current\n".repeat(200));
  expect(await readFile(`${file}.2`, "utf8")).toBe("generation 1\n");
});

test("a gap that an interrupted rotation left loses nothing", async () => {
  const LOG_DIR = await temporaryDirectory();
  const file = join(LOG_DIR, "app.log");
  await writeFile(`${file}.2`, "older\n");
  await writeFile(file, "current\n".repeat(200));
  const { url } = await startHere({ LOG_DIR, MAX_FILE_BYTES: 1500, KEPT_FILES: 3 });
  await send(url, ["next"]);
  expect(await filesOf(file)).toEqual(["app.log", "app.log.1", "app.log.3"]);
  const body = await (await fetch(`${url}/logs`)).text();
  expect(body).toMatch(/^older\n(current\n){200}\S+ \S+ next\n$/);
});
