import { appendFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import { expectProblem, post, startHere, temporaryDirectory } from "./running.ts";

describe("GET /logs", () => {
  const logsOf = async (url: string) => {
    const response = await fetch(`${url}/logs`);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("text/plain; charset=utf-8");
    return response.text();
  };

  test("is empty while there is no file", async () => {
    const { url, file } = await startHere();
    expect(await logsOf(url)).toBe("");
    await rm(file);
    expect(await logsOf(url)).toBe("");
  });

  test("equals the file's bytes, those of an earlier process too", async () => {
    const LOG_DIR = await temporaryDirectory();
    await writeFile(join(LOG_DIR, "app.log"), "from before\n");
    const { url, file } = await startHere({ LOG_DIR });
    await Promise.all(Array.from({ length: 20 }, (_, index) => post(url, `é ${index}`)));
    const body = await logsOf(url);
    expect(body).toMatch(/^from before\n/);
    expect(body).toBe(await readFile(file, "utf8"));
  });

  test("ends in a whole line while lines are being written", slow, async () => {
    const { url, file } = await startHere();
    let writing = true;
    const writers = Array.from({ length: 8 }, async () => {
      for (let count = 0; count < 25; count++) await (await post(url, "x".repeat(5000))).text();
    });
    const written = Promise.all(writers).then(() => {
      writing = false;
    });
    const snapshots: string[] = [];
    while (writing) snapshots.push(await logsOf(url));
    await written;
    const final = await readFile(file, "utf8");
    for (const snapshot of snapshots) {
      expect(snapshot).toMatch(/(^|\n)$/);
      expect(final.startsWith(snapshot)).toBe(true);
    }
  });

  test("leaves out half a line", async () => {
    const { url, file } = await startHere();
    await post(url, "whole");
    const whole = await readFile(file, "utf8");
    await appendFile(file, "half");
    expect(await logsOf(url)).toBe(whole);
  });

  test("a file that cannot be read is 503", async () => {
    const LOG_DIR = await temporaryDirectory();
    await mkdir(join(LOG_DIR, "app.log"));
    const { url } = await startHere({ LOG_DIR });
    await expectProblem(await fetch(`${url}/logs`), 503);
  });

  test("HEAD sends no body", async () => {
    const { url } = await startHere();
    await post(url, "hello");
    const response = await fetch(`${url}/logs`, { method: "HEAD" });
    expect(response.status).toBe(200);
    expect(await response.text()).toBe("");
  });
});

/** A service whose lines lie in three files; `all` is their bytes, oldest first. */
async function startRotated() {
  const LOG_DIR = await temporaryDirectory();
  const file = join(LOG_DIR, "app.log");
  const line = (number: number) => `2026-01-02T03:04:05.678Z id-${number} message ${number} é\n`;
  const lines = Array.from({ length: 30 }, (_, number) => line(number));
  await writeFile(`${file}.10`, lines.slice(0, 10).join(""));
  await writeFile(`${file}.2`, lines.slice(10, 20).join(""));
  await writeFile(`${file}.1`, "");
  await writeFile(file, lines.slice(20).join(""));
  for (const name of ["app.log.x", "app.log.02", "app.log.1.gz", "other.log.1"]) {
    await writeFile(join(LOG_DIR, name), "not of the log\n");
  }
  const service = await startHere({ LOG_DIR });
  return { ...service, lines, all: Buffer.from(lines.join("")) };
}

const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer());

describe("GET /logs across generations", () => {
  test("is their bytes, the highest number first, and says how many", async () => {
    const { url, all } = await startRotated();
    const response = await fetch(`${url}/logs`);
    expect(response.headers.get("content-length")).toBe(String(all.length));
    expect(await bytesOf(response)).toEqual(all);
  });

  test("leaves out half a line at the end of any of them", async () => {
    const { url, file, all } = await startRotated();
    await appendFile(`${file}.10`, "half");
    await appendFile(file, "half");
    expect(await bytesOf(await fetch(`${url}/logs`))).toEqual(all);
  });

  test.each([0, 1, 9, 10, 11, 20, 29, 30, 31, 999_999_999])("tail=%i is the last lines", async (count) => {
    const { url, lines } = await startRotated();
    const response = await fetch(`${url}/logs?tail=${count}`);
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(count === 0 ? "" : lines.slice(-count).join(""));
  });

  test("tail finds lines longer than one read", async () => {
    const { url } = await startHere({ MAX_MESSAGE_BYTES: 400_000, MAX_BODY_BYTES: 400_100 });
    for (const letter of ["a", "b", "c"]) await post(url, letter.repeat(300_000));
    const tail = await (await fetch(`${url}/logs?tail=2`)).text();
    expect(tail).toMatch(/^\S+ \S+ b{300000}\n\S+ \S+ c{300000}\n$/);
  });

  test.each(["tail=-1", "tail=x", "tail=", "tail=1.5", "tail=1&tail=2", "tail=1000000000"])(
    "%s is 400 that names the field",
    async (query) => {
      const { url } = await startRotated();
      const problem = await expectProblem(await fetch(`${url}/logs?${query}`), 400);
      expect(problem).toMatchObject({ errors: [{ field: "tail" }] });
    },
  );

  test.each([
    ["bytes=0-0", 0, 1],
    ["bytes=0-", 0, undefined],
    ["bytes=5-99", 5, 100],
    ["bytes=300-900", 300, 901],
    ["bytes=1000-999999", 1000, undefined],
    ["bytes=-7", -7, undefined],
    ["bytes=-999999", 0, undefined],
  ])("Range %s is 206 with these bytes", async (range, start, end) => {
    const { url, all } = await startRotated();
    const response = await fetch(`${url}/logs`, { headers: { range } });
    const expected = all.subarray(start, end);
    expect(response.status).toBe(206);
    const first = start < 0 ? all.length + start : start;
    const last = first + expected.length - 1;
    expect(response.headers.get("content-range")).toBe(`bytes ${first}-${last}/${all.length}`);
    expect(response.headers.get("content-length")).toBe(String(expected.length));
    expect(await bytesOf(response)).toEqual(expected);
  });

  test("all ranges together are the whole log", async () => {
    const { url, all } = await startRotated();
    const parts: Buffer[] = [];
    for (let start = 0; start < all.length; start += 97) {
      const range = `bytes=${start}-${start + 96}`;
      parts.push(await bytesOf(await fetch(`${url}/logs`, { headers: { range } })));
    }
    expect(Buffer.concat(parts)).toEqual(all);
  });

  test("a Range counts from where tail begins", async () => {
    const { url, lines } = await startRotated();
    const response = await fetch(`${url}/logs?tail=12`, { headers: { range: "bytes=3-" } });
    expect(response.status).toBe(206);
    expect(await bytesOf(response)).toEqual(Buffer.from(lines.slice(-12).join("")).subarray(3));
  });

  test.each([(size: number) => `bytes=${size}-`, () => "bytes=-0"])(
    "a Range without a byte (%s) is 416 and says where the end is",
    async (rangeOf) => {
      const { url, all } = await startRotated();
      const response = await fetch(`${url}/logs`, { headers: { range: rangeOf(all.length) } });
      expect(response.headers.get("content-range")).toBe(`bytes */${all.length}`);
      await expectProblem(response, 416);
    },
  );

  test.each(["bytes=0-1,5-6", "lines=0-1", "bytes=9-2", "bytes=-", "nonsense"])(
    "Range %j is answered with everything",
    async (range) => {
      const { url, all } = await startRotated();
      const response = await fetch(`${url}/logs`, { headers: { range } });
      expect(response.status).toBe(200);
      expect(await bytesOf(response)).toEqual(all);
    },
  );

  test("HEAD says how many bytes, whatever its Range", async () => {
    const { url, all } = await startRotated();
    const response = await fetch(`${url}/logs`, { method: "HEAD", headers: { range: "bytes=0-1" } });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-length")).toBe(String(all.length));
    expect(response.headers.get("accept-ranges")).toBe("bytes");
  });

  test("the ETag stays while nothing is added, over a restart too, and changes with a line", async () => {
    const LOG_DIR = await temporaryDirectory();
    const { url } = await startHere({ LOG_DIR });
    const etagOf = async (from: string) => (await fetch(`${from}/logs`)).headers.get("etag");
    const none = await etagOf(url);
    await post(url, "one");
    const one = await etagOf(url);
    expect(one).toMatch(/^"[\w-]+"$/);
    expect(one).not.toBe(none);
    expect(await etagOf(url)).toBe(one);
    expect(await etagOf((await startHere({ LOG_DIR })).url)).toBe(one);
    await post(url, "one");
    expect(await etagOf(url)).not.toBe(one);
  });

  test("logs of the same size have different ETags", async () => {
    const [one, two] = [await startHere(), await startHere()];
    for (const { url } of [one, two]) await post(url, "same");
    const [first, second] = await Promise.all([one, two].map(({ url }) => fetch(`${url}/logs`)));
    expect(first?.headers.get("content-length")).toBe(second?.headers.get("content-length"));
    expect(first?.headers.get("etag")).not.toBe(second?.headers.get("etag"));
  });

  test("If-None-Match is 304 until a line is added", async () => {
    const { url } = await startRotated();
    const etag = (await fetch(`${url}/logs`)).headers.get("etag") ?? "";
    // fetch itself adds Cache-Control: no-cache to such a request, which asks for no 304.
    const statusOf = () =>
      new Promise((resolve) => {
        const headers = { "If-None-Match": etag };
        get(`${url}/logs`, { headers }, (response) => resolve(response.resume().statusCode));
      });
    expect(await statusOf()).toBe(304);
    await post(url, "new");
    expect(await statusOf()).toBe(200);
  });

  test("If-Range sends the range of an unchanged log and all of a changed one", async () => {
    const { url, all } = await startRotated();
    const etag = (await fetch(`${url}/logs`)).headers.get("etag") ?? "";
    const headers = { range: "bytes=0-9", "if-range": etag };
    const unchanged = await fetch(`${url}/logs`, { headers });
    expect(unchanged.status).toBe(206);
    expect(await bytesOf(unchanged)).toEqual(all.subarray(0, 10));
    await post(url, "new");
    const changed = await fetch(`${url}/logs`, { headers });
    expect(changed.status).toBe(200);
    expect((await bytesOf(changed)).length).toBeGreaterThan(all.length);
  });

  test("a view of files that were rotated away and dropped meanwhile is still whole", async () => {
    const { url, all, file } = await startRotated();
    const response = await new Promise<import("node:http").IncomingMessage>((resolve) => {
      get(`${url}/logs`, resolve);
    });
    for (const name of [`${file}.10`, `${file}.2`, file]) await rm(name);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk);
    expect(Buffer.concat(chunks)).toEqual(all);
  });

  test("a log that is cut short while it is sent breaks the answer off", async () => {
    const LOG_DIR = await temporaryDirectory();
    const file = join(LOG_DIR, "app.log");
    await writeFile(file, `${"x".repeat(999)}\n`.repeat(64 * 1024));
    const { url } = await startHere({ LOG_DIR });
    const response = await fetch(`${url}/logs`);
    await writeFile(file, "");
    await expect(response.arrayBuffer()).rejects.toThrow("terminated");
  });
});
