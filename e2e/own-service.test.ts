// @module-tag slow
/** A service of one's own: from one command to an answer through the gateway, in the monitoring, changed, and gone again. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../lib/failure.ts";
import { descriptions } from "../tools/monitoring/dashboards/index.ts";
import { send } from "./app.ts";
import { applications, cloneOfConverged, converged, endClone } from "./applications.ts";
import type { Clone } from "./clone.ts";
import { list } from "./kubectl.ts";
import { exported, gitops, secondsSince } from "./platform.ts";
import { query, targets } from "./prometheus.ts";

const name = "hello";
const namespace = `service-${name}`;

let clone: Clone;

beforeAll(async () => {
  clone = await cloneOfConverged();
});

afterAll(() => endClone(clone));

/** Runs a command of the tool on the clone and expects that it succeeds. */
async function inClone(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await gitops(...args, "--directory", clone.directory);
  expect(exitCode, stderr).toBe(0);
  return stdout;
}

const pushed = ["--remote", "origin", "--push", "--wait", "--seconds", "600"];

async function commit(message: string): Promise<void> {
  await clone.git("add", "--all");
  await clone.git("commit", "--quiet", "--message", message);
}

/** Waits until a path of the gateway is answered so. */
const answers = (path: string, status: number, body: string): Promise<void> =>
  until(`GET ${path}`, 120, async () => {
    const answer = await send(path);
    return answer.status === status && answer.body.includes(body)
      ? undefined
      : `${answer.status} ${answer.body.slice(0, 200)}`;
  });

test("F a new service answers through the gateway, image build included", async ({ annotate }) => {
  expect((await applications()).map(({ metadata }) => metadata.name)).not.toContain(name);
  const started = Date.now();
  await inClone("new", "service", name);
  await commit(`feat(${name}): a service`);
  await annotate(`written and committed after ${secondsSince(started)} s`);
  await annotate((await inClone("release", name, ...pushed)).trim());
  await answers(`/${name}`, 200, `Hello from ${name}`);
  await annotate(`answered ${secondsSince(started)} s after \`npm run new -- service ${name}\``);
  expect((await send(`/${name}/status`)).body).toBe('{"status":"ok"}');
  const wrong = await send(`/${name}/wrong`);
  expect([wrong.status, wrong.type]).toEqual([404, expect.stringContaining("application/problem+json")]);
  expect(wrong.body).toContain("there is nothing at /wrong");
  // What was there answers as before.
  expect((await send("/")).body).toContain("Welcome");
  expect((await send(`/${name}er`)).body).toContain(`there is nothing at /${name}er`);
}, 1_800_000);

test("F its pods are in the mesh, scraped, and have alerts", async () => {
  const pods = await list("pods", "--namespace", namespace);
  expect(pods).toHaveLength(2);
  await until("the targets", 120, async () => {
    const up = (await targets()).filter(
      ({ labels, health }) => labels.namespace === namespace && health === "up",
    );
    const found = up.map(({ labels }) => `${labels.job} ${labels.pod}`).sort();
    const wanted = ["hello", "istio-proxies"].flatMap((job) =>
      pods.map(({ metadata }) => `${job} ${metadata.name}`),
    );
    return JSON.stringify(found) === JSON.stringify(wanted.sort()) ? undefined : `up are ${found.join(", ")}`;
  });
  await until("the rules", 120, async () => {
    const response = await fetch(`${exported("PROMETHEUS_URL")}/api/v1/rules?type=alert`);
    const text = await response.text();
    return ["Failing", "Slow", "NotScraped"].every((alert) => text.includes(`"ServiceHello${alert}"`))
      ? undefined
      : "the alerts are not there";
  });
}, 600_000);

test("F the dashboard of the platform shows its requests", async () => {
  const row = descriptions
    .find((dashboard) => dashboard.name === "platform")
    ?.rows.find(({ title }) => title === "Services beside it");
  const expressions = (row?.panels ?? []).flatMap((panel) =>
    panel.kind === "graph" ? Object.values(panel.queries) : [],
  );
  expect(expressions).toHaveLength(3);
  await until("the graphs", 180, async () => {
    for (let count = 0; count < 20; count++) await send(`/${name}`);
    for (const expression of expressions) {
      const series = await query(expression.replaceAll("$__rate_interval", "1m"));
      if (!series.some(({ metric }) => metric.destination_service_name === name)) return expression;
    }
    return undefined;
  });
}, 600_000);

test("F a change of its sources is released as any other", async ({ annotate }) => {
  clone.edit(`services/${name}/src/api.ts`, (text) =>
    text.replace(
      '  app.get("/status"',
      '  app.get("/again", (_req, res) => void res.json({ again: true }));\n  app.get("/status"',
    ),
  );
  await commit(`feat(${name}): one more route`);
  const started = Date.now();
  await inClone("release", name, ...pushed);
  await answers(`/${name}/again`, 200, '{"again":true}');
  await annotate(`${secondsSince(started)} s`);
}, 1_800_000);

test("F taken out by one commit, nothing of it is left", async ({ annotate }) => {
  const started = Date.now();
  await inClone("new", "remove", name, ...pushed);
  expect(await clone.git("log", "-1", "--format=%B")).toContain(`Deletes: Namespace ${namespace}`);
  await until("its removal", 300, async () => {
    const left = (await applications()).some(({ metadata }) => metadata.name === name);
    if (left) return "the Application is there";
    const namespaces = await list("namespaces");
    return namespaces.some(({ metadata }) => metadata.name === namespace)
      ? "the namespace is there"
      : undefined;
  });
  await annotate(`gone after ${secondsSince(started)} s`);
  await answers(`/${name}`, 404, `there is nothing at /${name}`);
  await until("its targets' end", 120, async () => {
    const left = (await targets()).filter(({ labels }) => labels.namespace === namespace);
    return left.length === 0 ? undefined : `${left.length} targets`;
  });
  expect(await clone.git("diff", clone.found, "HEAD")).toBe("");
  await converged(await clone.git("rev-parse", "HEAD"));
}, 1_800_000);
