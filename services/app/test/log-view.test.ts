import { randomBytes } from "node:crypto";
import { open, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { LogView } from "../src/log-view.ts";
import { temporaryDirectory } from "./running.ts";

const chunk = 256 * 1024;

async function viewOf(...sizes: number[]) {
  const directory = await temporaryDirectory();
  const files = await Promise.all(
    sizes.map(async (size, index) => {
      const [path, bytes] = [join(directory, String(index)), randomBytes(size)];
      await writeFile(path, bytes);
      return { path, bytes, part: { handle: await open(path), size } };
    }),
  );
  return {
    view: new LogView(files.map(({ part }) => part)),
    bytes: Buffer.concat(files.map(({ bytes }) => bytes)),
    paths: files.map(({ path }) => path),
  };
}

describe("the chunks of a view", () => {
  test.each([
    [[0]],
    [[1]],
    [[chunk - 1, 1, chunk + 1]],
    [[chunk, 0, 2 * chunk]],
    [[5 * chunk + 7, 3, 3 * chunk]],
  ])("are its bytes, in files of %j bytes", async (sizes) => {
    const { view, bytes } = await viewOf(...sizes);
    const { length } = bytes;
    for (const [start, end] of [
      [0, length],
      [Math.floor(length / 3), length],
      [Math.floor(length / 3), Math.ceil(length / 2)],
    ] as const) {
      const seen: Buffer[] = [];
      for await (const piece of view.chunks(start, end)) {
        // While a caller holds a chunk, the read ahead must not touch it.
        const before = Buffer.from(piece);
        await sleep(1);
        expect(piece.equals(before)).toBe(true);
        seen.push(before);
      }
      expect(Buffer.concat(seen).equals(bytes.subarray(start, end))).toBe(true);
    }
    await view.close();
  });

  test("fail where a file has become shorter", async () => {
    const { view, paths } = await viewOf(4 * chunk);
    const chunks = view.chunks(0, 4 * chunk);
    await truncate(paths[0] ?? "", chunk);
    const all = async () => {
      for await (const piece of chunks) expect(piece.length).toBeGreaterThan(0);
    };
    await expect(all()).rejects.toThrow("the log became shorter while it was being read");
    await view.close();
  });

  test("of a caller that leaves fail nobody, though the read ahead does", async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown): void => void unhandled.push(error);
    process.on("unhandledRejection", note);
    try {
      const { view, paths } = await viewOf(4 * chunk);
      await truncate(paths[0] ?? "", chunk);
      for await (const piece of view.chunks(0, 4 * chunk)) {
        expect(piece).toHaveLength(chunk);
        break;
      }
      await view.close();
      await sleep(50);
      expect(unhandled).toEqual([]);
    } finally {
      process.off("unhandledRejection", note);
    }
  });
});
