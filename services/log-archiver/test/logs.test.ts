/** `npm run logs`, as a person runs it, on a real search store. */
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { slow, sweep } from "../../../lib/test/long.ts";
import { inOrder, printable, unique, withoutRepeats } from "../cli/search.ts";
import { SearchStore } from "../src/search-store.ts";
import { VictoriaLogs } from "./victoria-logs.ts";

const directory = mkdtempSync(join(tmpdir(), "logs-test-"));
const search = new VictoriaLogs(join(directory, "data"));
const begin = Date.now() - 60_000;

beforeAll(() => search.start(), 300_000);
afterAll(async () => {
  await search.kill();
  rmSync(directory, { recursive: true });
});

const time = (number: number): string => new Date(begin + number).toISOString();

/** Hands lines on, as a feeder does. */
async function insert(
  ...lines: { number: number; message: string; pod?: string; time?: string }[]
): Promise<void> {
  const place = { file: "u/app.log", namespace: "logging", node: "n", uid: "u", pod: "app-1" };
  await new SearchStore(search.url).insert(
    lines.map(({ number, ...line }) => {
      const fields = { ...place, offset: number, request_id: `id-${number}`, time: time(number), ...line };
      return { time: fields.time, json: Buffer.from(JSON.stringify(fields)).toString("latin1") };
    }),
  );
  await fetch(`${search.url}/internal/force_flush`);
}

const command = ["--import", "tsx", join(import.meta.dirname, "../cli/logs.ts")];
const operator = (...args: string[]) =>
  execa(process.execPath, [...command, ...args], { env: { LOGS_URL: search.url }, reject: false });

describe("lines", () => {
  test("are printed in order, safe for a terminal; of a pod; and as JSON", slow, async () => {
    await insert(
      { number: 2, message: "order second \u001b[31m\u0085\u202e" },
      { number: 1, message: "order first", pod: "app-2" },
      { number: 30, message: "order third" },
    );
    const all = await operator("order");
    expect([all.exitCode, all.stderr]).toEqual([0, ""]);
    expect(all.stdout.split("\n")).toEqual(
      [
        `${time(1)} app-2 id-1 order first`,
        `${time(2)} app-1 id-2 order second \\x1b[31m\\x85\\u{202e}`,
        `${time(30)} app-1 id-30 order third`,
      ].map((line) => line.replace(/\.?0+Z/, "Z")),
    );
    expect((await operator("--pod", "app-2", "order")).stdout).toContain("order first");
    expect((await operator("--pod", 'a"b', "order")).exitCode).toBe(4);
    const newest = await operator("--limit", "1", "order");
    expect(newest.stdout).toContain("order third");
    expect(newest.stderr).toBe(
      "more lines match than these, which are the newest: use --limit, --since and --until to see others",
    );
    const [first = ""] = (await operator("--json", "order")).stdout.split("\n");
    expect(JSON.parse(first)).toMatchObject({ pod: "app-2", offset: "1", _msg: "order first" });
    expect((await operator("order | stats count() n")).stdout).toBe('{"n":"3"}');
  });

  test("of a retry on a second pod are one, and each pod's are found where only it is asked", async () => {
    const message = "retried once";
    await insert(
      { number: 41, message, pod: "app-2" },
      { number: 41, message, pod: "app-1", time: time(400) },
      { number: 42, message, pod: "app-1", time: time(401) },
    );
    const shown = (text: string): string[] => text.split("\n").map((line) => line.split(" ")[1] ?? "");
    expect(shown((await operator("retried")).stdout)).toEqual(["app-2", "app-1"]);
    expect(shown((await operator("--pod", "app-1", "retried")).stdout)).toEqual(["app-1", "app-1"]);
  });

  test("that are not there are no failure, and not the same as some", slow, async () => {
    const none = await operator("nowhere");
    expect([none.exitCode, none.stdout, none.stderr]).toEqual([
      4,
      "",
      expect.stringMatching(/^no line since \S+ matches "nowhere"$/),
    ]);
  });

  test("are shown as they come, also after the search store was away, and each once", slow, async () => {
    const child = spawn(process.execPath, [...command, "--follow", "--since", "10m", "live"], {
      env: { ...process.env, LOGS_URL: search.url },
    });
    const shown: string[] = [];
    const notes: string[] = [];
    createInterface({ input: child.stdout }).on("line", (line) => shown.push(line));
    createInterface({ input: child.stderr }).on("line", (line) => notes.push(line));
    const until = async (done: () => boolean): Promise<void> => {
      while (!done()) await sleep(50);
    };
    const now = (): string => new Date().toISOString();
    await insert({ number: 100, message: "live 100", time: now() });
    await until(() => shown.length === 1);
    await search.kill();
    await until(() => notes.length === 1);
    await search.start();
    await insert({ number: 101, message: "live 101", time: now() });
    await until(() => shown.some((line) => line.endsWith("live 101")));
    child.kill("SIGINT");
    await until(() => child.exitCode !== null);
    expect(child.exitCode).toBe(0);
    expect(new Set(shown).size).toBe(shown.length);
    expect(notes).toEqual([
      expect.stringMatching(/does not answer; waiting for it$/),
      "the search store answers again",
    ]);
  });
});

describe("what goes wrong", () => {
  /** A kubectl that says what it is asked. */
  const kubectl = join(directory, "kubectl");
  beforeAll(() => {
    writeFileSync(kubectl, '#!/bin/sh\necho "asked: $*" >&2\nexit 1\n');
    chmodSync(kubectl, 0o755);
  });
  const env = { PATH: `${directory}:${process.env.PATH}` };
  const nextOf = (stderr: string): string => /^next: (.*)$/m.exec(stderr)?.[1] ?? "";

  test("a query that is none is named, and what is next is taken", async () => {
    const { exitCode, stderr } = await operator("(");
    expect([exitCode, stderr]).toEqual([
      1,
      expect.stringMatching(/does not understand the query: .*\nnext: /),
    ]);
    const words = nextOf(stderr).split(" ").slice(4);
    expect(nextOf(stderr)).toBe("npm run logs -- --help");
    expect((await operator(...words)).stdout).toContain("Examples:");
  });

  test("a search store that does not answer is named, and what is next asks for its pods", slow, async () => {
    const away = await execa(process.execPath, [...command, "x"], {
      env: { LOGS_URL: "http://127.0.0.1:9" },
      reject: false,
    });
    expect(away.exitCode).toBe(1);
    const next = await execa("sh", ["-c", nextOf(away.stderr)], { env, reject: false });
    expect(next.stderr).toBe("asked: --namespace search get pods");
  });

  test(
    "without an address kubectl is asked, and where that fails the next command gives one",
    slow,
    async () => {
      const { exitCode, stderr } = await execa(process.execPath, [...command, "x"], {
        env: { ...env, LOGS_URL: "" },
        reject: false,
      });
      expect(exitCode).toBe(1);
      expect(stderr).toContain("asked: --namespace search port-forward service/search-door :8080");
      expect(nextOf(stderr)).toBe('eval "$(./deploy.sh env)"');
    },
  );

  const wrong = [
    ["--since", "never"],
    ["--limit", "0"],
    ["--follow", "--until=1h"],
    ["--x", ""],
  ] as const;
  sweep(wrong, 1)("%s %s is wrong use", async (...args) => {
    expect((await operator(...args, "x")).exitCode).toBe(64);
  });
});

test("rows are ordered by moment and place, and one that was handed on twice is one", () => {
  const row = (_time: string, offset: string, more = {}) => ({
    _time,
    offset,
    file: "f",
    request_id: "i",
    _msg: "m",
    ...more,
  });
  const a = row("2026-01-01T00:00:12Z", "9");
  const b = row("2026-01-01T00:00:12.45Z", "10");
  const c = row("2026-01-01T00:00:12.5Z", "9");
  const d = row("2026-01-01T00:00:12.5Z", "10");
  expect(inOrder([d, c, b, a])).toEqual([a, b, c, d]);
  const archived = { ...c, archive: "x", file: "x/app-1.log", offset: "1" };
  expect(unique([c, c, d, archived])).toEqual([c, d]);
  expect(unique([archived, archived])).toEqual([archived]);
  expect(printable("tab\tü\u0000\u2028")).toBe("tab\tü\\x00\\u{2028}");
});

test("a retry that becomes visible later is left out, and a line that was written again on its pod is not", () => {
  const row = (pod: string, offset: string, _msg = "m") => ({
    ...{ _time: "2026-11-27T09:00:00Z", _msg, pod, offset },
    request_id: "r",
  });
  const shown = new Map();
  expect(withoutRepeats([row("a", "1"), row("b", "7"), row("a", "2")], shown)).toEqual([
    row("a", "1"),
    row("a", "2"),
  ]);
  expect(withoutRepeats([row("b", "8"), row("b", "9", "other"), row("a", "3")], shown)).toEqual([
    row("b", "9", "other"),
    row("a", "3"),
  ]);
  const none = { ...row("b", "1"), request_id: "" };
  expect(withoutRepeats([none, { ...none, pod: "a" }], shown)).toHaveLength(2);
});
