import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { slow, sweep } from "../../../lib/test/long.ts";
import { Agent, configurations, type Encoding, findCollector, type Printed } from "./agent.ts";

const encodings = Object.keys(configurations) as Encoding[];
let agent: Agent;
let count = 0;
afterEach(() => agent.remove());

/** A line as the API writes it, with a number of its own. */
const line = (text = ""): string =>
  `${new Date().toISOString()} id-${++count} ${text || `message ${count}`}\n`;
const lines = (amount: number): string => Array.from({ length: amount }, () => line()).join("");
const textOf = ({ time, request_id, message }: Printed): string =>
  time === null ? `${message}\n` : `${time} ${request_id} ${message}\n`;
const texts = (printed: Printed[]): string => printed.map(textOf).join("");
const place = ({ file, offset }: Printed): string => `${file} ${offset}`;

/** Waits for this many lines in both places, as each of the two exporters has its own pace. */
const settled = async (printed: number, stored = printed): Promise<void> => {
  await expect.poll(() => agent.printed().length, { timeout: 30_000 }).toBeGreaterThanOrEqual(printed);
  await expect.poll(() => agent.stored().length, { timeout: 30_000 }).toBeGreaterThanOrEqual(stored);
};

// Built by `./deploy.sh`, which a machine that only runs the tests has not done.
const made = describe.skipIf(findCollector() === undefined);

/** What one encoding does before a commit, the other does among the slow tests: see below for what they have in common. */
const eachEncoding = (run: (encoding: Encoding) => void): void => {
  for (const [at, encoding] of encodings.entries())
    made(`the agent with ${encoding}`, at === 0 ? {} : slow, () => run(encoding));
};

eachEncoding((encoding) => {
  beforeEach(() => {
    agent = new Agent(encoding);
  });

  sweep(["::1", "127.77.0.1", "0:0:0:0:0:0:0:1", "::ffff:127.77.0.1"], 1)(
    "starts on the pod address %s, and says there what it has done",
    async (address) => {
      await agent.startAt(address);
      writeFileSync(join(agent.volume("uid-1"), "app.log"), lines(3));
      await settled(3);
      await expect.poll(() => agent.counted(), { timeout: 30_000 }).toBe(3);
      await expect.poll(() => agent.sent(), { timeout: 30_000 }).toBe(3);
    },
  );

  test("prints and stores each line to the byte, with where it is from", async () => {
    await agent.start();
    const file = join(agent.volume("uid-1"), "app.log");
    const written = [
      line('trailing  spaces\ttabs \\n "quotes" <b> & '),
      line("  leading, \u2028 separators \u0085 and \u0000 nul, größer 😀"),
      line("x".repeat(70_000)),
      "no line of the API\n",
    ];
    appendFileSync(file, written.join(""));
    await settled(4);
    const printed = agent.printed();
    expect(texts(printed)).toBe(written.join(""));
    expect(agent.stored()).toEqual(printed);
    const offsets = written.map((_, i) => Buffer.byteLength(written.slice(0, i).join("")));
    expect(printed.map(({ offset }) => offset)).toEqual(offsets);
    for (const { uid, file, node } of printed)
      expect([uid, file, node]).toEqual([
        "uid-1",
        "uid-1/volumes/kubernetes.io~empty-dir/logs/app.log",
        "node1",
      ]);
  });

  test("opens no link, whatever it leads to, under whichever of the names", async () => {
    const secret = join(agent.directory, "token");
    writeFileSync(secret, "the token of another pod\n");
    const [volume, other] = [agent.volume("uid-1"), agent.volume("uid-2")];
    symlinkSync(secret, join(volume, "app.log.7"));
    symlinkSync(secret, join(other, "app.log"));
    symlinkSync("app.log.8", join(volume, "app.log.9"));
    writeFileSync(join(volume, "app.log"), lines(2));
    await agent.start();
    await settled(2);
    symlinkSync(secret, join(volume, "app.log.3"));
    appendFileSync(join(volume, "app.log"), lines(2));
    await settled(4);
    expect(JSON.stringify([agent.printed(), agent.stored()])).not.toContain("token of another pod");
    expect(agent.printed()).toHaveLength(4);
  });

  test("goes on reading beside what is no file: a FIFO, a socket, a directory", slow, async () => {
    const volume = agent.volume("uid-1");
    const other = agent.volume("uid-2");
    execFileSync("mkfifo", [join(other, "app.log"), join(other, "app.log.1")]);
    mkdirSync(join(other, "app.log.2"));
    const server = createServer().listen(join(other, "app.log.3"));
    await once(server, "listening");
    try {
      await agent.start();
      writeFileSync(join(volume, "app.log"), lines(2));
      await settled(2);
      execFileSync("mkfifo", [join(volume, "app.log.5")]);
      appendFileSync(join(volume, "app.log"), lines(2));
      await settled(4);
      rmSync(other, { recursive: true });
      appendFileSync(join(volume, "app.log"), lines(2));
      await settled(6);
      expect(agent.printed()).toHaveLength(6);
    } finally {
      server.close();
    }
  });

  test(
    "a line of the API's largest message is one line, a last one without its newline is none yet",
    slow,
    async () => {
      await agent.start();
      const file = join(agent.volume("uid-1"), "app.log");
      const large = line("\\\\".repeat(4 * 1024 * 1024));
      appendFileSync(file, large);
      appendFileSync(file, "2026-01-01T00:00:00.000Z id-half the first ha");
      await settled(1);
      await sleep(1500);
      expect(texts(agent.printed())).toBe(large);
      appendFileSync(file, "lf\n");
      await settled(2);
      expect(agent.printed().at(-1)).toMatchObject({ request_id: "id-half", message: "the first half" });
    },
  );

  test("follows a rotation by rename, and the lines written on both sides of it", async () => {
    await agent.start();
    const directory = agent.volume("uid-1");
    let written = "";
    for (let rotation = 0; rotation < 5; rotation++) {
      for (let i = 0; i < 20; i++) {
        const text = lines(50);
        appendFileSync(join(directory, "app.log"), text);
        written += text;
        await sleep(10);
      }
      for (let n = 3; n >= 1; n--)
        try {
          renameSync(join(directory, `app.log.${n}`), join(directory, `app.log.${n + 1}`));
        } catch {}
      renameSync(join(directory, "app.log"), join(directory, "app.log.1"));
    }
    await settled(5000);
    await sleep(500);
    expect(agent.printed().map(textOf).sort()).toEqual(written.split(/(?<=\n)/).sort());
  });

  test("a truncated file is read again from its beginning: what repeats has the same place", async () => {
    await agent.start();
    const file = join(agent.volume("uid-1"), "app.log");
    // More than the 1,000 bytes by which the collector knows a file.
    const kept = lines(60);
    appendFileSync(file, kept + lines(5));
    await settled(65);
    truncateSync(file, Buffer.byteLength(kept));
    await sleep(600);
    const after = lines(3);
    appendFileSync(file, after);
    await expect.poll(() => texts(agent.printed()).endsWith(after), { timeout: 10_000 }).toBe(true);
    const places = new Map<string, Set<string>>();
    for (const one of agent.printed())
      places.set(textOf(one), (places.get(textOf(one)) ?? new Set()).add(place(one)));
    for (const text of (kept + after).split(/(?<=\n)/).filter(Boolean))
      expect(places.get(text)?.size).toBe(1);
  });

  test("a new file in place of a removed one is a new file, whatever its inode", slow, async () => {
    await agent.start();
    const file = join(agent.volume("uid-1"), "app.log");
    let written = "";
    for (let i = 0; i < 5; i++) {
      const text = lines(20);
      writeFileSync(file, text);
      written += text;
      await settled((i + 1) * 20);
      unlinkSync(file);
    }
    expect(texts(agent.printed())).toBe(written);
  });

  test("reads a pod's lines to the end after its directory is gone", slow, async () => {
    await agent.start();
    const written: string[] = [];
    for (let pod = 0; pod < 5; pod++) {
      const handle = openSync(join(agent.volume(`uid-${pod}`), "app.log"), "a");
      const first = line();
      writeSync(handle, first);
      await settled(written.length + 1);
      const text = lines(500);
      writeSync(handle, text);
      rmSync(join(agent.pods, `uid-${pod}`), { recursive: true });
      // A stopping pod may write still.
      const last = line();
      writeSync(handle, last);
      closeSync(handle);
      written.push(first, ...text.split(/(?<=\n)/), last);
      await settled(written.length);
    }
    expect(agent.printed().map(textOf).sort()).toEqual(written.sort());
  });

  test(
    "goes on after SIGTERM without losing or repeating, also over what was written while it was away",
    slow,
    async () => {
      const file = join(agent.volume("uid-1"), "app.log");
      let written = "";
      for (let run = 0; run < 4; run++) {
        await agent.start();
        for (let i = 0; i < 20; i++) {
          const text = lines(20);
          appendFileSync(file, text);
          written += text;
          await sleep(15);
        }
        await agent.stop();
        const away = lines(30);
        appendFileSync(file, away);
        written += away;
        if (run === 1) renameSync(file, `${file}.1`);
      }
      await agent.start();
      await settled(4 * 430);
      await sleep(500);
      // The rotated file and the new one are read side by side.
      const sorted = (text: string): string[] => text.split(/(?<=\n)/).sort();
      expect(sorted(texts(agent.printed()))).toEqual(sorted(written));
      const places = (printed: Printed[]): string[] => printed.map((line) => JSON.stringify(line)).sort();
      expect(places(agent.stored())).toEqual(places(agent.printed()));
    },
  );

  test("goes on after kill -9: no line is lost, and what repeats has the same place", slow, async () => {
    const file = join(agent.volume("uid-1"), "app.log");
    let written = "";
    for (let run = 0; run < 5; run++) {
      await agent.start();
      // Few enough at a time that a buffer between reading and printing would hold some at the kill.
      for (let i = 0; i < 200; i++) {
        const text = lines(1);
        appendFileSync(file, text);
        written += text;
        await sleep(5);
      }
      await agent.stop("SIGKILL");
    }
    await agent.start();
    await expect
      .poll(() => texts(agent.printed()).endsWith(written.slice(-500)), { timeout: 30_000 })
      .toBe(true);
    const expected = new Set(written.split(/(?<=\n)/));
    const places = new Map<string, string>();
    for (const one of agent.printed()) {
      expect(expected.has(textOf(one)), textOf(one)).toBe(true);
      expect(places.get(textOf(one)) ?? place(one)).toBe(place(one));
      places.set(textOf(one), place(one));
    }
    expect(places.size).toBe(expected.size);
  });

  test("drops stored lines by size, keeping the newest", slow, async () => {
    await agent.start(
      "exporters::file/store::rotation::max_megabytes=1",
      "exporters::file/store::rotation::max_backups=2",
    );
    const file = join(agent.volume("uid-1"), "app.log");
    for (let i = 0; i < 30; i++) {
      appendFileSync(file, Array.from({ length: 100 }, () => line("x".repeat(2000))).join(""));
      await sleep(50);
    }
    await settled(3000, 700);
    const newest = agent.printed().at(-1);
    await expect.poll(() => agent.stored().at(-1), { timeout: 30_000 }).toEqual(newest);
    await sleep(1000);
    const stored = agent.stored();
    expect(stored.length).toBeGreaterThan(700);
    expect(stored.length).toBeLessThan(1600);
    expect(stored.at(-1)).toEqual(newest);
  });

  test("counts every line of generations that are read side by side", slow, async () => {
    const volume = agent.volume("uid-1");
    for (const name of ["app.log", "app.log.1", "app.log.2", "app.log.3"])
      appendFileSync(join(volume, name), lines(500));
    await agent.start();
    await settled(2000);
    await expect.poll(() => agent.counted(), { timeout: 10_000 }).toBe(2000);
  });

  test("has the lag of every line while it catches up with many files", slow, async () => {
    const amount = 5000;
    for (let pod = 0; pod < 6; pod++)
      appendFileSync(join(agent.volume(`uid-${pod}`), "app.log"), lines(amount));
    appendFileSync(join(agent.volume("uid-1"), "app.log"), "no line of the API, and of no time\nshort\n");
    await agent.start();
    await settled(6 * amount + 2);
    await expect.poll(() => agent.counted(), { timeout: 10_000 }).toBe(6 * amount + 2);
    await expect.poll(() => agent.lags(), { timeout: 10_000 }).toBe(6 * amount);
  });

  test("counts its lines and says how far it lags", async () => {
    await agent.start("receivers::file_stats::collection_interval=1s");
    const file = join(agent.volume("uid-1"), "app.log");
    appendFileSync(file, lines(10));
    await settled(10);
    appendFileSync(file, "half a line");
    const figures = async (): Promise<string> =>
      (await fetch(`http://127.0.0.1:${agent.metricsPort}/metrics`)).text();
    const value = async (name: string): Promise<number> =>
      Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)`, "m").exec(await figures())?.[1]);
    await expect.poll(() => agent.counted(), { timeout: 10_000 }).toBe(10);
    await expect.poll(() => agent.lags(), { timeout: 10_000 }).toBe(10);
    await expect
      .poll(async () => (await value("log_agent_file_size_b")) - (await value("log_agent_file_read_bytes")), {
        timeout: 10_000,
      })
      .toBe("half a line".length);
  });
});

/** Bytes that a file may hold: what an API writes, and what else may come into it. */
function hardBytes(): Buffer {
  const start = "2026-01-01T00:00:00.000Z id-1 ";
  const texts = [
    "",
    " ",
    "no line of the API",
    start,
    `${start}message`,
    `${start}"quotes" \\\\ \\n <b>&amp;</b> \t\t /`,
    `${start}${Array.from({ length: 0x3000 }, (_, code) => (code === 10 ? "" : String.fromCharCode(code))).join("")}`,
    `${start}\u2028 \u2029 \u0085 \ufeff \ufffd größer 😀`,
    `${start}1e400 -0 NaN null true {"a":[1,"b"]}`,
    "2026-01-01T00:00:00Z 1 2",
    "2026-01-01T00:00:00.000Z  two spaces",
    "2026-01-01T00:00:00.000Z id\tmessage",
    "2026-01-01T00:00:00.000Z",
    "2026-01-01t00:00:00.000Z id message",
    "1",
    "null",
    '{"time":"2026-01-01T00:00:00Z"}',
    `carriage\rreturn\r`,
    `${start}${'\\\\x00é"<'.repeat(512 * 1024)}`,
  ].map((text) => Buffer.from(text));
  const broken = [0x80, 0xbf, 0xc0, 0xc3, 0xe2, 0xed, 0xf0, 0xf4, 0xff].flatMap((byte) =>
    [[byte], [byte, 0x80], [byte, 0xa0, 0x80], [byte, 0x9f, 0xbf, 0xbf]].flatMap((bytes) => [
      Buffer.from(bytes),
      Buffer.concat([Buffer.from(start), Buffer.from(bytes), Buffer.from(" after")]),
    ]),
  );
  return Buffer.concat(
    [...texts, ...broken, Buffer.from("the end")].flatMap((line) => [line, Buffer.from("\n")]),
  );
}

made("the two encodings", () => {
  test("print and store the same bytes, whatever a file holds", async () => {
    const results: Buffer[][] = [];
    for (const encoding of encodings) {
      agent = new Agent(encoding);
      const bytes = hardBytes();
      writeFileSync(join(agent.volume("uid-1"), "app.log"), bytes);
      await agent.start();
      await expect.poll(() => agent.output().includes('"message":"the end"'), { timeout: 60_000 }).toBe(true);
      await agent.stop();
      results.push([agent.output(), readFileSync(join(agent.state, "store/lines.jsonl"))]);
      // The receiver leaves out the one empty line.
      const lines = bytes.toString("latin1").split("\n").length - 1;
      expect(agent.output().toString().split("\n")).toHaveLength(lines);
      await agent.remove();
    }
    const [[printed, stored] = [], ...others] = results;
    expect(stored?.equals(printed ?? Buffer.alloc(0))).toBe(true);
    for (const [other, otherStored] of others) {
      expect(firstDifference(other, printed)).toBeUndefined();
      expect(firstDifference(otherStored, stored)).toBeUndefined();
    }
  });

  const seriesOf = (file: string): string[] =>
    [...readFileSync(file, "utf8").matchAll(/- name: (\S+)\n +(description: .*)\n(?: +(unit: .*)\n)?/g)].map(
      ([, ...said]) => said.join(" "),
    );

  test("have the same metrics", () => {
    const [base = "", own = ""] = configurations.log_line_encoding.files;
    expect(seriesOf(own)).toHaveLength(3);
    expect(seriesOf(own)).toEqual(seriesOf(base));
    const buckets = (file: string) => /buckets: .*/.exec(readFileSync(file, "utf8"))?.[0];
    expect(buckets(own)).toBe(buckets(base));
  });
});

/** What stands where two outputs differ first; undefined where they are equal. */
function firstDifference(a: Buffer = Buffer.alloc(0), b: Buffer = Buffer.alloc(0)): string[] | undefined {
  if (a.equals(b)) return undefined;
  const at = a.findIndex((byte, index) => byte !== b[index]);
  return [a, b].map((bytes) => bytes.subarray(Math.max(0, at - 60), at + 60).toString("latin1"));
}

test("runs the version that the module pins", () => {
  const root = join(import.meta.dirname, "../../..");
  const pinned = /otelcol v(\S+)/.exec(
    readFileSync(join(root, "bootstrap/embedded/modules/opentelemetry-collector/go.mod"), "utf8"),
  )?.[1];
  const manifest = readFileSync(join(root, "gitops/apps/log-agent/base/agent/kustomization.yaml"), "utf8");
  expect(/opentelemetry-collector-contrib\n(?: +#.*\n)* +newTag: "(.*)"/.exec(manifest)?.[1]).toBe(pinned);
});
