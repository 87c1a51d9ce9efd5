import { mkdir, open, readdir, readFile, rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import { LogFile } from "../src/log-file.ts";
import { expectProblem, post, startHere, temporaryDirectory } from "./running.ts";

const startOf = (response: Response) => Number(response.headers.get("log-start"));
const filesOf = async (file: string) => (await readdir(dirname(file))).sort();

/** Where the log begins and ends. */
async function boundsOf(url: string): Promise<{ start: number; end: number }> {
  const response = await fetch(`${url}/logs`, { method: "HEAD" });
  const start = startOf(response);
  return { start, end: start + Number(response.headers.get("content-length")) };
}

/** A service of small files on a directory in which a drop was interrupted, or on an empty one. */
async function startSmall(LOG_DIR?: string) {
  return startHere({ MAX_FILE_BYTES: 1024, KEPT_FILES: 2, ...(LOG_DIR && { LOG_DIR }) });
}

/** Posts messages that fill files of 1 KiB and returns the lines, as they were stored. */
async function fill(url: string, count: number): Promise<string> {
  let lines = "";
  for (let index = 0; index < count; index++) {
    expect((await post(url, "x".repeat(400))).status).toBe(200);
    lines += await (await fetch(`${url}/logs?tail=1`)).text();
  }
  return lines;
}

describe("the position of a byte", () => {
  test("counts what was dropped, and stays over restarts", async () => {
    const LOG_DIR = await temporaryDirectory();
    const first = await startSmall(LOG_DIR);
    expect(await boundsOf(first.url)).toEqual({ start: 0, end: 0 });
    const lines = await fill(first.url, 11);
    const bounds = await boundsOf(first.url);
    // Two lines a file: three files are dropped, two are kept beside the one being written.
    expect(bounds).toEqual({ start: (lines.length / 11) * 6, end: lines.length });
    const second = await startSmall(LOG_DIR);
    expect(await boundsOf(second.url)).toEqual(bounds);
    const more = await fill(second.url, 3);
    expect(await boundsOf(second.url)).toEqual({
      start: (lines.length / 11) * 8,
      end: lines.length + more.length,
    });
    expect(await (await fetch(`${second.url}/logs`)).text()).toBe(
      (lines + more).slice((lines.length / 11) * 8),
    );
  });

  test("does not count half a line that was cut off", async () => {
    const LOG_DIR = await temporaryDirectory();
    const file = join(LOG_DIR, "app.log");
    await writeFile(file, `${"a".repeat(1000)}\nhalf`);
    await writeFile(`${file}.1`, `${"b".repeat(500)}\nhalf`);
    await writeFile(`${file}.2`, "half");
    const { url } = await startSmall(LOG_DIR);
    await fill(url, 3);
    expect(await boundsOf(url)).toMatchObject({ start: 501 });
  });

  test("begins anew where the directory was emptied by hand", async () => {
    const { url, file } = await startSmall();
    await fill(url, 9);
    for (const name of await filesOf(file)) await rm(join(dirname(file), name));
    const line = await fill(url, 1);
    expect(await boundsOf(url)).toEqual({ start: 0, end: line.length });
  });

  test("names that are no number are not taken for the dropped bytes", async () => {
    const { url, file } = await startSmall();
    const names = [
      "app.log.dropped",
      "app.log.dropped.x",
      "app.log.dropped.01",
      "app.log.dropped.9999999999999999",
    ];
    for (const name of names) await writeFile(join(dirname(file), name), "no\n");
    const line = await fill(url, 1);
    expect(await boundsOf(url)).toEqual({ start: 0, end: line.length });
  });

  test("dropping adds one empty file, which the agent does not collect", async () => {
    const { url, file } = await startSmall();
    const lines = await fill(url, 11);
    const dropped = `app.log.dropped.${(lines.length / 11) * 6}`;
    expect(await filesOf(file)).toEqual(["app.log", "app.log.1", "app.log.2", dropped]);
    expect((await stat(join(dirname(file), dropped))).size).toBe(0);
  });
});

describe("a kill while a generation is dropped", () => {
  // Which files are there after each step; `before` is what an earlier drop has left.
  const oldest = `${"o".repeat(699)}\n`;
  const steps: [string, Record<string, string>][] = [
    ["before the first drop", { "2": oldest }],
    ["after the first drop's rename", { "dropped.700": oldest }],
    ["after its empty file was made", { "dropped.700": oldest, dropped: "" }],
    ["after its end", { "dropped.700": "" }],
    ["before a later drop", { "dropped.5000": "", "2": oldest }],
    ["after a later drop's rename", { "dropped.5000": "", "dropped.5700": oldest }],
    ["after a later drop's end", { "dropped.5700": "" }],
    [
      "after a drop's rename, when the one before it did not end",
      { "dropped.5000": "more\n", "dropped.5700": oldest },
    ],
  ];

  test.each(steps)(
    "%s: counted once, and its room is free at the next start and rotation",
    async (_when, files) => {
      const LOG_DIR = await temporaryDirectory();
      const file = join(LOG_DIR, "app.log");
      await writeFile(`${file}.1`, "newer\n");
      await writeFile(file, `${"c".repeat(999)}\n`);
      for (const [name, content] of Object.entries(files)) await writeFile(`${file}.${name}`, content);
      const earlier = "dropped.5000" in files || "dropped.5700" in files ? 5000 : 0;
      const rest = `${files["2"] ?? ""}newer\n${"c".repeat(999)}\n`;

      const start = earlier + ("2" in files ? 0 : 700);
      const view = await new LogFile(file, { SYNC: "always", MAX_FILE_BYTES: 1024, KEPT_FILES: 2 }).view();
      expect(view.start).toBe(start);
      await view.close();
      const { url } = await startSmall(LOG_DIR);
      const response = await fetch(`${url}/logs`);
      expect(startOf(response)).toBe(start);
      expect(await response.text()).toBe(rest);

      const line = await fill(url, 1);
      expect(await boundsOf(url)).toEqual({ start: earlier + 700, end: earlier + 700 + 1006 + line.length });
      const beside = (await filesOf(file)).filter((name) => /^app\.log\.dropped\./.test(name));
      expect(beside).toEqual([`app.log.dropped.${earlier + 700}`]);
      expect(await readFile(join(LOG_DIR, beside[0] ?? ""), "utf8")).toBe("");
    },
  );

  test("the service starts where what is left cannot be removed, and counts", async () => {
    const LOG_DIR = await temporaryDirectory();
    const file = join(LOG_DIR, "app.log");
    await writeFile(`${file}.dropped.700`, oldest);
    await mkdir(`${file}.dropped`);
    await writeFile(file, "2026-01-02T03:04:05.678Z r1 kept\n");
    const { url } = await startSmall(LOG_DIR);
    expect(startOf(await fetch(`${url}/logs`))).toBe(700);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect((await post(url, "kept", { "idempotency-key": "r1" })).status).toBe(200);
    // As any rotation that fails: refused and not stored, until the cause is gone.
    await expectProblem(await post(url, "y".repeat(1000)), 503);
    expect((await boundsOf(url)).end).toBe(700 + 33);
    await rm(`${file}.dropped`, { recursive: true });
    expect((await post(url, "y".repeat(1000))).status).toBe(200);
    expect((await boundsOf(url)).start).toBe(700);
    expect(await filesOf(file)).toEqual(["app.log", "app.log.1", "app.log.dropped.700"]);
  });
});

test("a rotation that was interrupted makes none of the kept files go early", async () => {
  const LOG_DIR = await temporaryDirectory();
  const file = join(LOG_DIR, "app.log");
  await writeFile(`${file}.2`, "older\n");
  await writeFile(file, `${"c".repeat(999)}\n`);
  const { url } = await startSmall(LOG_DIR);
  await fill(url, 1);
  expect(await (await fetch(`${url}/logs`)).text()).toMatch(/^older\nc{999}\n\S+ \S+ x{400}\n$/);
  await fill(url, 2);
  expect(await filesOf(file)).toEqual(["app.log", "app.log.1", "app.log.2", "app.log.dropped.6"]);
});

describe("GET /logs?from", () => {
  test("is the bytes from a position on, wherever in a line it lies", async () => {
    const { url } = await startSmall();
    const lines = await fill(url, 11);
    const { start, end } = await boundsOf(url);
    for (const from of [start, start + 1, start + 700, start + 1024, end - 1, end]) {
      const response = await fetch(`${url}/logs?from=${from}`);
      expect(response.status).toBe(200);
      expect(startOf(response)).toBe(from);
      expect(response.headers.get("content-length")).toBe(String(end - from));
      expect(await response.text()).toBe(lines.slice(from));
    }
  });

  test.each([0, 1, 1000])("begins with the oldest byte where byte %i was dropped", async (from) => {
    const { url } = await startSmall();
    const lines = await fill(url, 11);
    const { start } = await boundsOf(url);
    const response = await fetch(`${url}/logs?from=${from}`);
    expect(startOf(response)).toBe(start);
    expect(await response.text()).toBe(lines.slice(start));
  });

  test.each(["GET", "HEAD"])(
    "%s beyond the end is 416, and says where this log begins and ends",
    async (method) => {
      const { url } = await startSmall();
      await fill(url, 11);
      const { start, end } = await boundsOf(url);
      for (const from of [end + 1, Number.MAX_SAFE_INTEGER]) {
        const response = await fetch(`${url}/logs?from=${from}`, { method });
        expect(startOf(response)).toBe(start);
        expect(response.headers.get("content-range")).toBe(`bytes */${end - start}`);
        if (method === "HEAD") expect(response.status).toBe(416);
        else expect(await expectProblem(response, 416)).toMatchObject({ errors: [{ field: "from" }] });
      }
    },
  );

  test("of a log without lines is empty at 0, and 416 beyond", async () => {
    const { url } = await startSmall();
    const response = await fetch(`${url}/logs?from=0`);
    expect([response.status, startOf(response), await response.text()]).toEqual([200, 0, ""]);
    expect((await fetch(`${url}/logs?from=1`)).status).toBe(416);
  });

  test("a Range counts from where it begins, and Log-Start is the same with and without", async () => {
    const { url } = await startSmall();
    const lines = await fill(url, 11);
    const { start, end } = await boundsOf(url);
    const from = start + 5;
    const response = await fetch(`${url}/logs?from=${from}`, { headers: { range: "bytes=10-" } });
    expect(response.status).toBe(206);
    expect(startOf(response)).toBe(from);
    expect(response.headers.get("content-range")).toBe(`bytes 10-${end - from - 1}/${end - from}`);
    expect(await response.text()).toBe(lines.slice(from + 10));
    const outside = await fetch(`${url}/logs?from=${from}`, { headers: { range: `bytes=${end - from}-` } });
    expect(startOf(outside)).toBe(from);
    expect(outside.headers.get("content-range")).toBe(`bytes */${end - from}`);
    await expectProblem(outside, 416);
  });

  test("tail says at which position it begins", async () => {
    const { url } = await startSmall();
    const lines = await fill(url, 11);
    for (const tail of [0, 1, 3]) {
      const response = await fetch(`${url}/logs?tail=${tail}`);
      expect(await response.text()).toBe(lines.slice(startOf(response)));
    }
  });

  test.each(["from=-1", "from=x", "from=", "from=1.5", "from=1e3", "from=1&from=2", "from=9007199254740992"])(
    "%s is 400 that names the field",
    async (query) => {
      const { url } = await startSmall();
      const problem = await expectProblem(await fetch(`${url}/logs?${query}`), 400);
      expect(problem).toMatchObject({ errors: [{ field: "from" }] });
    },
  );

  test("together with tail is 400", async () => {
    const { url } = await startSmall();
    await expectProblem(await fetch(`${url}/logs?from=0&tail=1`), 400);
  });

  test("reads nothing of what lies before: a terabyte of it makes no difference", async () => {
    const LOG_DIR = await temporaryDirectory();
    const file = join(LOG_DIR, "app.log");
    // Without blocks: a file of holes, which would still have to be read.
    const size = 2 ** 40;
    await writeFile(`${file}.1`, "");
    await truncate(`${file}.1`, size);
    const handle = await open(`${file}.1`, "r+");
    await handle.write("\n", size - 1);
    await handle.close();
    await writeFile(file, "2026-01-02T03:04:05.678Z r1 last\n");
    const { url } = await startHere({ LOG_DIR });
    const response = await fetch(`${url}/logs?from=${size + 28}`);
    expect(startOf(response)).toBe(size + 28);
    expect(await response.text()).toBe("last\n");
  });

  test("an ETag is of one position: equal lines at another one are not the same", async () => {
    const { url, file } = await startSmall();
    await fill(url, 11);
    const before = (await fetch(`${url}/logs`)).headers.get("etag");
    const marker = (await filesOf(file)).find((name) => name.includes("dropped")) ?? "";
    await rename(join(dirname(file), marker), `${file}.dropped.7`);
    expect((await fetch(`${url}/logs`)).headers.get("etag")).not.toBe(before);
  });
});

test(
  "from any position, over appends, rotations and restarts, the bytes are those appended after it",
  slow,
  async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ append: fc.integer({ min: 1, max: 900 }) }) },
      { weight: 1, arbitrary: fc.record({ restart: fc.integer({ min: 1, max: 4 }) }) },
    );
    const steps = fc.array(step, { minLength: 1, maxLength: 30 });
    const property = fc.asyncProperty(
      steps,
      fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
      async (plan, chances) => {
        const LOG_DIR = await temporaryDirectory();
        let { url } = await startHere({ LOG_DIR, MAX_FILE_BYTES: 1024, KEPT_FILES: 3 });
        let history = "";
        for (const action of plan) {
          // The one before is left as a kill leaves it.
          if ("restart" in action) {
            ({ url } = await startHere({ LOG_DIR, MAX_FILE_BYTES: 1024, KEPT_FILES: action.restart }));
          } else {
            expect((await post(url, "é".repeat(action.append))).status).toBe(200);
            history += await (await fetch(`${url}/logs?tail=1`)).text();
          }
          const bytes = Buffer.from(history);
          const from = Math.round(chances.next().value * (bytes.length + 3));
          const response = await fetch(`${url}/logs?from=${from}`);
          const start = startOf(response);
          if (from > bytes.length) {
            expect(response.status).toBe(416);
            expect(response.headers.get("content-range")).toBe(`bytes */${bytes.length - start}`);
          } else {
            expect(start).toBeGreaterThanOrEqual(from);
            if (start > from) expect((await boundsOf(url)).start).toBe(start);
            expect(Buffer.from(await response.arrayBuffer()).equals(bytes.subarray(start))).toBe(true);
          }
        }
      },
    );
    await fc.assert(property, { numRuns: 25 });
  },
);

test(
  "every view while lines are appended and files dropped is a piece of the log, at its position",
  slow,
  async () => {
    // Many files, so that a rotation, which takes fewer steps for each of them, overtakes a view.
    const settings = { SYNC: "never", MAX_FILE_BYTES: 600, KEPT_FILES: 20 } as const;
    const log = new LogFile(join(await temporaryDirectory(), "app.log"), settings);
    onTestFinished(() => log.close());
    let history = "";
    let writing = true;
    const written = (async () => {
      for (let round = 0; round < 300; round++) {
        const lines = Array.from(
          { length: 1 + (round % 5) },
          (_, index) => `${round} ${index} ${"x".repeat(round % 97)}\n`,
        );
        await Promise.all(
          lines.map((line) =>
            log.append(line).then(() => {
              history += line;
            }),
          ),
        );
      }
      writing = false;
    })();
    const views: { acknowledged: number; start: number; content: string }[] = [];
    const read = async () => {
      while (writing) {
        const acknowledged = history.length;
        const view = await log.view();
        views.push({ acknowledged, start: view.start, content: await text(view.stream(0, view.size)) });
        await view.close();
      }
    };
    await Promise.all([read(), read(), read(), read()]);
    await written;
    expect(views.at(-1)?.start).toBeGreaterThan(0);
    for (const { acknowledged, start, content } of views) {
      expect(history.slice(start, start + content.length)).toBe(content);
      expect(start + content.length).toBeGreaterThanOrEqual(acknowledged);
    }
  },
);
