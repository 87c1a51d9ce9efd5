import { appendFile, mkdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { type LogEvents, LogFile, type LogSettings } from "../src/log-file.ts";
import { temporaryDirectory } from "./running.ts";

const settings: LogSettings = { SYNC: "always", MAX_FILE_BYTES: 1e9, KEPT_FILES: 3 };

async function createLog(content?: string, events?: LogEvents): Promise<LogFile> {
  const log = new LogFile(join(await temporaryDirectory(), "app.log"), { ...settings }, events);
  if (content !== undefined) await writeFile(log.path, content);
  onTestFinished(() => log.close());
  return log;
}

async function shown(log: LogFile): Promise<string> {
  const view = await log.view();
  try {
    return await text(view.stream(0, view.size));
  } finally {
    await view.close();
  }
}

const stored = (log: LogFile) => readFile(log.path, "utf8");

test("concurrent lines are all stored once, in the order of their acknowledgements", async () => {
  const log = await createLog();
  const acknowledged: string[] = [];
  const lines = Array.from({ length: 1000 }, (_, index) => `line ${index}\n`);
  const half = lines.length / 2;
  await Promise.all(
    lines.map(async (line, index) => {
      // The later half arrives while the first batch is being written.
      if (index >= half)
        await log.append(`early ${index}\n`).then(() => acknowledged.push(`early ${index}\n`));
      await log.append(line);
      acknowledged.push(line);
    }),
  );
  expect(acknowledged).toHaveLength(lines.length + half);
  expect(await stored(log)).toBe(acknowledged.join(""));
});

test("lines of one caller keep their order", async () => {
  const log = await createLog();
  const lines = Array.from({ length: 100 }, (_, index) => `line ${index}\n`);
  await Promise.all(lines.map((line) => log.append(line)));
  expect(await stored(log)).toBe(lines.join(""));
});

test("a line is in the file when append resolves", async () => {
  const log = await createLog();
  for (const line of ["a\n", "b\n", "c\n"]) {
    await log.append(line);
    expect(await stored(log)).toMatch(new RegExp(`${line}$`));
  }
});

test("a line is refused where the file's data cannot be synchronised", async () => {
  const log = await createLog();
  // Writing to this device succeeds, fdatasync on it does not.
  await symlink("/dev/null", log.path);
  await expect(log.append("a\n")).rejects.toThrow("EINVAL");
});

test("a torn last line is never shown, and cut off by open", async () => {
  const cut: number[] = [];
  const log = await createLog("one\ntwo\nthr", { tornLine: (bytes) => cut.push(bytes) });
  expect(await shown(log)).toBe("one\ntwo\n");
  await log.open();
  expect(cut).toEqual([3]);
  expect(await stored(log)).toBe("one\ntwo\n");
  await log.append("three\n");
  expect(await stored(log)).toBe("one\ntwo\nthree\n");
});

test("append repairs a torn last line where open was not called", async () => {
  const log = await createLog("thr");
  await log.append("three\n");
  expect(await stored(log)).toBe("three\n");
});

test("a torn line longer than one read is found too", async () => {
  const log = await createLog(`one\n${"x".repeat(200_000)}`);
  await log.open();
  expect(await stored(log)).toBe("one\n");
});

test("what is not acknowledged is not shown", async () => {
  const log = await createLog();
  await log.append("one\n");
  await appendFile(log.path, "not ours\n");
  expect(await shown(log)).toBe("one\n");
});

test("there is nothing to read before the first line", async () => {
  const log = await createLog();
  expect(await shown(log)).toBe("");
  await log.open();
  expect(await shown(log)).toBe("");
});

test.each([
  ["removed", (log: LogFile) => rm(log.path)],
  ["truncated", (log: LogFile) => truncate(log.path, 0)],
])("a file that is %s is written anew", async (_what, change) => {
  const log = await createLog();
  await log.append("before\n");
  await change(log);
  await log.append("after\n");
  expect(await stored(log)).toBe("after\n");
  expect(await shown(log)).toBe("after\n");
});

test("a directory that is away makes lines fail until it is back", async () => {
  const directory = join(await temporaryDirectory(), "logs");
  const log = new LogFile(join(directory, "app.log"), settings);
  onTestFinished(() => log.close());
  await expect(log.open()).rejects.toThrow("ENOENT");
  await expect(log.append("lost\n")).rejects.toThrow("ENOENT");
  await expect(log.check()).rejects.toThrow("ENOENT");
  await mkdir(directory);
  await log.check();
  await log.append("kept\n");
  expect(await stored(log)).toBe("kept\n");
});

test("close waits for accepted lines and refuses later ones", async () => {
  const log = await createLog();
  const accepted = Promise.all([log.append("a\n"), log.append("b\n")]);
  await log.close();
  expect(await stored(log)).toBe("a\nb\n");
  await accepted;
  await expect(log.append("c\n")).rejects.toThrow("closed");
});

test("lines that arrive together share writes, none of them larger than a megabyte", async () => {
  const batches: number[] = [];
  const log = await createLog("", { batch: (lines) => batches.push(lines) });
  await Promise.all(Array.from({ length: 1000 }, () => log.append(`${"x".repeat(10_000)}\n`)));
  expect(batches.reduce((sum, lines) => sum + lines)).toBe(1000);
  expect(Math.max(...batches)).toBeLessThanOrEqual(104);
  expect(batches.length).toBeLessThan(20);
});

test("a line larger than a batch is a batch of its own", async () => {
  const log = await createLog();
  const lines = ["a\n", `${"x".repeat(3_000_000)}\n`, "b\n"];
  await Promise.all(lines.map((line) => log.append(line)));
  expect(await stored(log)).toBe(lines.join(""));
});

test("lines beyond what may wait are refused, those within are stored", async () => {
  const log = await createLog();
  const line = `${"x".repeat(1_000_000)}\n`;
  const results = await Promise.allSettled(Array.from({ length: 50 }, () => log.append(line)));
  const refused = results.filter(({ status }) => status === "rejected");
  expect(refused.length).toBeGreaterThan(10);
  expect(String((refused[0] as PromiseRejectedResult).reason)).toContain("too many lines wait");
  expect((await stored(log)).length).toBe((50 - refused.length) * line.length);
  await log.append("later\n");
});
