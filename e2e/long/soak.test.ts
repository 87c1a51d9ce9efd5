/** B5 under load: stores that turn over many times, runs one after the other, agents and pods of the app killed meanwhile. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../lib/failure.ts";
import { namespace, pods, url } from "../app.ts";
import { cloneOfConverged, converged, endClone, rollout } from "../applications.ts";
import type { Clone } from "../clone.ts";
import { inPod, kubectl } from "../kubectl.ts";
import { agents, archiveNow, keeper, notOnce, restored } from "../lines.ts";
import { cgroupProcesses } from "../machine.ts";
import { setFaultShare } from "../mesh.ts";

const seconds = Number(process.env.SOAK_SECONDS ?? 1200);
const storeMib = Number(process.env.SOAK_STORE_MIB ?? 8);
const id = randomUUID();
let clone: Clone;

beforeAll(async () => {
  clone = await cloneOfConverged();
  await setFaultShare(clone, 0);
  clone.edit("gitops/apps/log-agent/base/agent/collector.yaml", (text) =>
    text
      .replace(/max_megabytes: 64\n/, "max_megabytes: 1\n")
      .replace(/max_backups: 15\n/, `max_backups: ${storeMib - 1}\n`),
  );
  clone.edit("gitops/apps/logging/base/log-archiver/config.env", (text) =>
    text.replace(/^STORE_MIB=.*$/m, `STORE_MIB=${storeMib}`),
  );
  await converged(await clone.push("e2e: small stores"));
  await agentsReady();
});

afterAll(() => endClone(clone));

const agentsReady = (): Promise<void> =>
  until("agents", 600, async () => {
    const ready = (await agents()).length;
    return ready === 2 ? undefined : `${ready} are ready`;
  });

/** As many lines as the platform takes on six connections: within 3 and 5 that wait, whichever gateway they are at. */
class Load {
  readonly acknowledged = new Set<string>();
  /** How many requests were not answered with 200, by what came instead. */
  readonly refused = new Map<string, number>();
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 6 });
  readonly #done: Promise<unknown>;
  #running = true;
  #next = 0;

  constructor() {
    this.#done = Promise.all(Array.from({ length: 6 }, () => this.#work()));
  }

  async #work(): Promise<void> {
    while (this.#running) {
      const number = this.#next++;
      const message = `${id} ${number} ${"x".repeat(200)}`;
      for (;;) {
        const outcome = await this.#post(message, `${id}-${number}`);
        if (outcome === "200") break;
        this.refused.set(outcome, (this.refused.get(outcome) ?? 0) + 1);
        await sleep(50);
      }
      this.acknowledged.add(message);
    }
  }

  /** What an attempt without an answer wrote on another pod begins with the same key: one line of a restore. */
  #post(message: string, key: string): Promise<string> {
    return new Promise((resolve) => {
      const headers = { "content-type": "application/json", "idempotency-key": key };
      const signal = AbortSignal.timeout(10_000);
      request(url("/log"), { method: "POST", agent: this.#agent, headers, signal }, (response) => {
        response.on("error", (error) => resolve(error.message));
        response.resume().on("end", () => resolve(String(response.statusCode)));
      })
        .on("error", (error) => resolve(error.message))
        .end(JSON.stringify({ message }));
    });
  }

  /** Ends when each line that was begun is acknowledged. */
  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
    this.#agent.destroy();
  }
}

const random = <T>(choices: T[]): T => choices[Math.floor(Math.random() * choices.length)] as T;

/** Kills one process of the platform whose command line matches. */
function killOne(pattern: RegExp): void {
  const found = cgroupProcesses().filter((pid) => {
    try {
      return pattern.test(readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " "));
    } catch {
      return false;
    }
  });
  if (found.length > 0) process.kill(random(found), "SIGKILL");
}

const deletePod = async (...flags: string[]): Promise<void> => {
  const name = random(await pods())?.metadata.name ?? "";
  await kubectl(["--namespace", namespace, "delete", "pod", name, "--wait=false", ...flags]);
};

const chaos: [string, () => unknown][] = [
  ["an agent was killed", () => killOne(/^\/otelcol-contrib /)],
  ["the API was killed in its pod", () => killOne(/^node .*\/app\/dist\/main\.js $/)],
  ["a pod was deleted", () => deletePod()],
  ["a pod was deleted with a second to end", () => deletePod("--grace-period=1")],
];

/** One at a time: what a pod has and no agent has read yet goes with the pod. */
async function harm(stopped: () => boolean): Promise<Map<string, number>> {
  const done = new Map<string, number>();
  while (!stopped()) {
    const [what, act] = random(chaos);
    await act();
    done.set(what, (done.get(what) ?? 0) + 1);
    await sleep(5000);
    await agentsReady();
    await until("the rollout", 300, rollout);
    await sleep(Math.random() * 10_000);
  }
  return done;
}

interface Made {
  archive: string;
  lines: number;
  sources: { kind: string; bytes: number; droppedBytes?: number }[];
}

/** The manifests of the archives that were made since a moment. */
async function madeSince(moment: string): Promise<Made[]> {
  const code = `const fs = require("node:fs");
    const made = fs.readdirSync("/archive").filter((name) => name.endsWith(".json"))
      .map((name) => JSON.parse(fs.readFileSync("/archive/" + name, "utf8")))
      .filter(({ started }) => started >= process.argv[1])
      .map(({ archive, lines, sources }) => ({ archive, lines, sources }));
    console.log(JSON.stringify(made));`;
  return JSON.parse(await inPod(namespace, await keeper(), "node", "-e", code, moment)) as Made[];
}

const listed = (counts: Map<string, number>): string =>
  [...counts].map(([what, count]) => `${what}: ${count}`).join(", ");

test("B5 every acknowledged line is restored once, however often the stores turned over", async ({
  annotate,
}) => {
  const began = new Date();
  const load = new Load();
  let over = false;
  const harming = harm(() => over);
  // What fails must not end the test before the load has ended.
  harming.catch(() => undefined);
  const codes = new Map<string, number>();
  while (Date.now() - began.getTime() < seconds * 1000) {
    const { exitCode, stderr } = await archiveNow();
    codes.set(String(exitCode), (codes.get(String(exitCode)) ?? 0) + 1);
    if (exitCode !== 0) console.error(`${new Date().toISOString()} archive: ${exitCode}: ${stderr}`);
  }
  over = true;
  await load.stop();
  const took = (Date.now() - began.getTime()) / 1000;
  const harmed = await harming;
  const rate = Math.round(load.acknowledged.size / took);
  await annotate(`${load.acknowledged.size} lines in ${Math.round(took)} s, ${rate}/s`);
  await annotate(`not answered with 200: ${listed(load.refused) || "none"}`);
  await annotate(`harm: ${listed(harmed)}; runs by exit code: ${listed(codes)}`);
  // What agents have read and not stored yet.
  await sleep(5000);
  const { exitCode, stderr } = await archiveNow();
  expect([exitCode, stderr]).toEqual([0, ""]);

  const made = await madeSince(began.toISOString());
  const sources = made.flatMap((archive) => archive.sources);
  const stored = sources.reduce((sum, { kind, bytes }) => sum + (kind === "node-store" ? bytes : 0), 0);
  // Two nodes.
  const turns = stored / 2 / (storeMib * 1024 * 1024);
  await annotate(`${made.length} archives; each store turned over ${turns.toFixed(1)} times`);
  const dropped = sources.reduce((sum, { droppedBytes = 0 }) => sum + droppedBytes, 0);
  await annotate(`${dropped} bytes were dropped before they were archived`);
  const started = Date.now();
  const messages = await restored(id);
  await annotate(`the restore took ${Math.round((Date.now() - started) / 1000)} s`);
  const wrong = notOnce(messages, load);
  expect([wrong.length, wrong.slice(0, 20)]).toEqual([0, []]);
  expect(messages.length).toBeGreaterThan(seconds * 10);
});
