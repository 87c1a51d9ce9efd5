/** progress.sh beside the real collector: one that is stuck is ended, one that is idle or whose disk is full is not. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import { Agent, findCollector } from "./agent.ts";

const deployed = resolve(import.meta.dirname, "../../../gitops/apps/log-agent/base/agent");
const script = join(deployed, "progress.sh");
const line = (text: string): string => `2026-01-01T00:00:00.000Z id ${text}\n`;

let agent: Agent;
let watch: ChildProcess | undefined;
let said = "";

beforeEach(() => {
  agent = new Agent();
  said = "";
});
afterEach(async () => {
  if (watch?.exitCode === null && watch.signalCode === null) {
    const exited = once(watch, "exit");
    watch.kill("SIGKILL");
    await exited;
  }
  await agent.remove();
});

/** Starts the script as it is deployed, at a pace of seconds, beside the collector. */
function startWatch(ask = 'exec curl -sf -m 5 "$url"'): void {
  const bin = join(agent.directory, "bin");
  mkdirSync(bin);
  // The process of this test, and of no other that runs beside it.
  writeFileSync(join(bin, "pidof"), `#!/bin/sh\necho ${agent.pid}\n`, { mode: 0o755 });
  // A machine has curl, as bootstrap needs it, and perhaps no wget.
  writeFileSync(join(bin, "wget"), `#!/bin/sh\nfor url; do :; done\n${ask}\n`, { mode: 0o755 });
  const heartbeat = join(agent.volume("uid-agent", "heartbeat"), "app.log.1");
  watch = spawn("sh", [script], {
    env: {
      PATH: `${bin}:${process.env.PATH}`,
      POD_IP: "127.0.0.1",
      METRICS_PORT: String(agent.ownPort),
      HEARTBEAT: heartbeat,
      PROCESS: "otelcol-contrib",
      PAUSE: "1",
      LIMIT: "4",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  for (const stream of [watch.stdout, watch.stderr])
    stream?.on("data", (data: Buffer) => {
      said += data.toString();
    });
}

describe.skipIf(findCollector() === undefined)("the agent's progress", () => {
  test("ends an agent whose reader is stuck, which its health check does not see", slow, async () => {
    // As when nobody takes what it prints: a pipe that is full.
    const pipe = join(agent.directory, "pipe");
    execFileSync("mkfifo", [pipe]);
    await agent.startWith({ stdout: openSync(pipe, "r+") });
    const lines = Array.from({ length: 4000 }, (_, i) => line(`${i} ${"x".repeat(100)}`)).join("");
    writeFileSync(join(agent.volume("uid-1"), "app.log"), lines);
    // What the pipe holds is printed; the rest waits.
    await sleep(2000);
    expect(await agent.health()).toBe(200);
    startWatch();
    await expect.poll(() => agent.runs, { timeout: 40_000 }).toBe(false);
    expect(said).toMatch(/the agent has read and refused nothing for \d+ s: it is ended/);
  });

  test("leaves an idle one alone", slow, async () => {
    await agent.start();
    startWatch();
    await sleep(12_000);
    expect([agent.runs, said]).toEqual([true, ""]);
    // Nor is what it asks with a line that anybody sees.
    expect(agent.printed()).toEqual([]);
    expect(agent.stored()).toEqual([]);
  });

  test(
    "leaves one alone of which it has never had an answer: its own means may be what fails",
    slow,
    async () => {
      await agent.start();
      startWatch("kill -SEGV $$");
      await sleep(12_000);
      expect([agent.runs, said]).toEqual([true, expect.not.stringContaining("it is ended")]);
    },
  );

  test("leaves one alone whose disk is full: it waits, and does not lose its place", slow, async () => {
    await agent.start("exporters::file/store::path=/dev/full", "exporters::file/store::rotation=null");
    writeFileSync(join(agent.volume("uid-1"), "app.log"), line("refused"));
    startWatch();
    await sleep(12_000);
    expect([agent.runs, said]).toEqual([true, ""]);
  });
});

test("is deployed with the collector's own name, and a file that the collector reads", () => {
  const daemonset = readFileSync(join(deployed, "daemonset.yaml"), "utf8");
  expect(daemonset).toContain("value: /heartbeat/app.log.1\n");
  expect(daemonset).toMatch(/name: PROCESS\n\s+value: otelcol-contrib\n/);
  expect(daemonset).toMatch(/shareProcessNamespace: true/);
});
