/** C: steady requests through the gateway lose nothing while parts of the platform are replaced. */
import { Agent, get as request } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sleep, until } from "../../tools/src/failure.ts";
import { url } from "../app.ts";
import { converged, rollout } from "../applications.ts";
import { Clone } from "../clone.ts";
import { kubectl } from "../kubectl.ts";
import { gateways, setFaultShare } from "../mesh.ts";

let clone: Clone;
let found: string;

beforeAll(async () => {
  clone = await Clone.make();
  found = await clone.git("rev-parse", "HEAD");
  await converged(found);
  await setFaultShare(clone, 0);
});

afterAll(async () => {
  await clone.git("read-tree", "--reset", "-u", found);
  if ((await clone.git("diff", "HEAD")) !== "") await converged(await clone.push("e2e: as it was found"));
  clone.remove();
});

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
];

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
