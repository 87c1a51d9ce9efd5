/** C: steady requests through the gateway lose nothing while parts of the platform are replaced. */
import { Agent, get as request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../../lib/failure.ts";
import { url } from "../app.ts";
import { cloneOfConverged, endClone, rollout } from "../applications.ts";
import type { Clone } from "../clone.ts";
import { kubectl } from "../kubectl.ts";
import { gateways, setFaultShare } from "../mesh.ts";

let clone: Clone;

beforeAll(async () => {
  clone = await cloneOfConverged();
  await setFaultShare(clone, 0);
});

afterAll(() => endClone(clone));

/** GET /status over and over, on three connections that are kept. */
class Load {
  answered = 0;
  readonly failed: string[] = [];
  #running = true;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 3 });
  readonly #done: Promise<unknown>;

  constructor() {
    this.#done = Promise.all(Array.from({ length: 3 }, () => this.#work()));
  }

  async #work(): Promise<void> {
    while (this.#running) {
      const outcome = await new Promise<string>((resolve) => {
        const options = { agent: this.#agent, signal: AbortSignal.timeout(10_000) };
        request(url("/status"), options, (response) => {
          response.resume().on("end", () => resolve(String(response.statusCode)));
        }).on("error", (error) => resolve(String(error)));
      });
      if (outcome === "200") this.answered++;
      else this.failed.push(`${new Date().toISOString()} ${outcome}`);
      await sleep(10);
    }
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
    this.#agent.destroy();
  }
}

const replaced = async (kind: string, name: string, namespace: string): Promise<void> => {
  await kubectl(["-n", namespace, "rollout", "status", `${kind}/${name}`, "--timeout=180s"]);
};

const events: [string, () => Promise<void>][] = [
  [
    "the app rolls out",
    async () => {
      await kubectl(["-n", "logging", "rollout", "restart", "deployment/app"]);
      await sleep(2000);
      await until("the rollout", 180, rollout);
    },
  ],
  [
    "istiod restarts",
    async () => {
      await kubectl(["-n", "istio-system", "delete", "pod", "-l", "app=istiod", "--wait=false"]);
      await sleep(2000);
      await replaced("deployment", "istiod", "istio-system");
    },
  ],
  [
    "one gateway pod is deleted",
    async () => {
      const [pod] = await gateways();
      await kubectl(["-n", "istio-system", "delete", "pod", pod?.metadata.name ?? ""]);
      await replaced("deployment", "istio-ingressgateway", "istio-system");
    },
  ],
  [
    "a node is drained and comes back",
    async () => {
      try {
        // What serves requests; a drain of everything takes the volumes' pods with it, which have nowhere to go.
        for (const selector of ["app.kubernetes.io/name=app", "istio=ingressgateway"]) {
          const options = ["--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s"];
          await kubectl(["drain", "node2", "--pod-selector", selector, ...options]);
        }
      } finally {
        await kubectl(["uncordon", "node2"]);
      }
      await until("the rollout", 180, rollout);
      await replaced("deployment", "istio-ingressgateway", "istio-system");
    },
  ],
];

test("C a node that vanishes costs what was under way there, and no more once it is noticed", async ({
  annotate,
}) => {
  const link = (state: string) => execa("ip", ["link", "set", "lp-node2", state]);
  const load = new Load();
  try {
    await sleep(5000);
    await link("down");
    await sleep(20_000);
    const noticed = load.failed.length;
    const before = load.answered;
    await annotate(`${noticed} failed in 20 s: ${load.failed.join("; ")}`);
    await sleep(30_000);
    await annotate(`${load.answered - before} answered in the 30 s after`);
    expect(load.failed.slice(noticed)).toEqual([]);
    expect(load.answered - before).toBeGreaterThan(100);
    await link("up");
    await sleep(30_000);
    await annotate(`${load.failed.length - noticed} failed while it came back`);
    expect(load.failed.slice(noticed)).toEqual([]);
  } finally {
    await link("up");
    await load.stop();
  }
  await until("the nodes", 120, async () => {
    const nodes = await kubectl(["get", "nodes", "--no-headers"]);
    return nodes.includes("NotReady") ? nodes : undefined;
  });
  await until("the rollout", 180, rollout);
});

test("C no GET /status fails within two minutes of steady load and replacements", async ({ annotate }) => {
  const started = Date.now();
  const load = new Load();
  await sleep(10_000);
  for (const [event, act] of events) {
    const before = { answered: load.answered, failed: load.failed.length };
    await act();
    await sleep(10_000);
    const count = load.answered - before.answered;
    await annotate(`${event}: ${count} answered, ${load.failed.length - before.failed} failed`);
  }
  await sleep(Math.max(0, 120_000 - (Date.now() - started)));
  await load.stop();
  await annotate(`${load.answered} answered in all`);
  expect(load.failed).toEqual([]);
  expect(load.answered).toBeGreaterThan(1000);
});
