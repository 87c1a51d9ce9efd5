/** D: what Prometheus finds and counts is what happened. */

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../lib/failure.ts";
import { slow } from "../lib/test/long.ts";
import { expressions, onlyWhileWrong, selectorsIn } from "../tools/monitoring/expressions.ts";
import { pods, post, send } from "./app.ts";
import { application, cloneOfConverged, endClone, syncedMeanwhile } from "./applications.ts";
import type { Clone } from "./clone.ts";
import { crashes, endCrashes, startCrashes } from "./crashes.ts";
import { type KubernetesObject, kubectl, list } from "./kubectl.ts";
import { accesses, gateways, setFaultShare } from "./mesh.ts";
import { repository } from "./platform.ts";
import { alerts, fired, metricNames, number, query, ruleErrors, type Target, targets } from "./prometheus.ts";

let clone: Clone;
let stillness: Awaited<ReturnType<typeof syncedMeanwhile>> | undefined;

beforeAll(async () => {
  clone = await cloneOfConverged();
  // Its alert takes minutes: where all files run it has been there since the beginning.
  await startCrashes();
});

afterAll(async () => {
  await endCrashes();
  await endClone(clone);
});

/** Two scrapes after a flush of the proxies' histograms: what happened before is then in Prometheus. */
async function settle(): Promise<void> {
  // Envoy merges its histograms every 5 s.
  await sleep(5500);
  for (let scrape = 0; scrape < 2; scrape++) {
    const since = Date.now();
    await until("another scrape of the app and the proxies", 60, async () => {
      const late = (await targets()).filter(
        ({ labels: { job = "" }, lastScrape }) =>
          ["app", "istio-proxies"].includes(job) && Date.parse(lastScrape) < since,
      );
      return late.length === 0 ? undefined : `${late.length} targets were not scraped`;
    });
  }
}

const gateway = 'reporter="source",source_workload="istio-ingressgateway"';

/** What the gateway has counted in all, of one operation. */
const counted = (metric: string, operation: string, more = ""): Promise<number> =>
  number(`sum(${metric}{${gateway},request_operation="${operation}"${more}})`);

test("D1 both Applications are Synced and Healthy", async () => {
  for (const name of ["monitoring-stack", "monitoring"]) {
    const { status } = await application(name);
    expect([name, status.sync.status, status.health.status]).toEqual([name, "Synced", "Healthy"]);
  }
});

describe("D2 D3 targets", () => {
  /** Which targets there should be, as `job namespace/pod port`, by looking at the pods themselves. */
  async function expected(): Promise<string[]> {
    interface Pod extends KubernetesObject {
      spec: Record<"containers" | "initContainers", { name: string; ports?: { name?: string }[] }[]>;
      status: { phase: string };
    }
    const all = (await list<Pod>("pods", "--all-namespaces")).filter(
      ({ metadata, status }) =>
        metadata.deletionTimestamp === undefined && !/Succeeded|Failed/.test(status.phase),
    );
    const named = (job: string, namespace: string, label: [string, string], ports: number): string[] =>
      all
        .filter(
          ({ metadata }) => metadata.namespace === namespace && metadata.labels?.[label[0]] === label[1],
        )
        .flatMap(({ metadata }) =>
          Array.from({ length: ports }, () => `${job} ${namespace}/${metadata.name}`),
        );
    const name = "app.kubernetes.io/name";
    const proxied = all.filter(({ spec }) =>
      [...spec.containers, ...(spec.initContainers ?? [])].some(
        (container) => container.name === "istio-proxy",
      ),
    );
    return [
      ...named("app", "logging", [name, "app"], 1),
      ...named("log-agent", "log-agent", [name, "log-agent"], 2),
      ...named("log-archiver", "logging", ["app.kubernetes.io/component", "keeper"], 1),
      ...all
        .filter(({ metadata }) => metadata.labels?.["app.kubernetes.io/part-of"] === "services")
        .filter(({ spec }) =>
          spec.containers.some(({ ports = [] }) => ports.some(({ name }) => name === "metrics")),
        )
        .map(({ metadata }) => `${metadata.labels?.[name]} ${metadata.namespace}/${metadata.name}`),
      ...named("feeder", "logging", ["app.kubernetes.io/component", "feeder"], 1),
      ...named("victoria-logs", "search", [name, "victoria-logs"], 1),
      ...proxied.map(({ metadata }) => `istio-proxies ${metadata.namespace}/${metadata.name}`),
      ...named("istiod", "istio-system", ["app", "istiod"], 1),
      ...named("argocd-metrics", "argocd", [name, "argocd-application-controller"], 1),
      ...named("argocd-server-metrics", "argocd", [name, "argocd-server"], 1),
      ...named("argocd-repo-server", "argocd", [name, "argocd-repo-server"], 1),
      ...named("argocd-applicationset-controller", "argocd", [name, "argocd-applicationset-controller"], 1),
      ...named("prometheus", "monitoring", [name, "prometheus"], 2),
      ...named("alertmanager", "monitoring", [name, "alertmanager"], 1),
      ...named("prometheus-operator", "monitoring", [name, "prometheus-operator"], 1),
      ...named("node-exporter", "monitoring", [name, "node-exporter"], 1),
      ...named("kube-state-metrics", "monitoring", [name, "kube-state-metrics"], 2),
      "apiserver default",
      ...(await list("nodes")).flatMap(({ metadata }) => Array(2).fill(`kubelet ${metadata.name}`)),
    ].sort();
  }

  const describeTarget = ({ labels: { job, namespace, pod, node } }: Target): string =>
    pod === undefined ? `${job} ${node ?? namespace}` : `${job} ${namespace}/${pod}`;

  test("are all that is expected, up, and no others", async ({ annotate }) => {
    await until("the targets", 120, async () => {
      const now = await targets();
      const down = now.filter(({ health }) => health !== "up");
      const wanted = await expected();
      const differences = [
        ...down.map((target) => `${describeTarget(target)} is ${target.health}: ${target.lastError}`),
        ...difference(wanted, now.map(describeTarget)).map((one) => `missing: ${one}`),
        ...difference(now.map(describeTarget), wanted).map((one) => `unexpected: ${one}`),
      ];
      return differences.length === 0 ? undefined : differences.join("; ");
    });
    await annotate(`${(await targets()).length} targets`);
  });

  /** What of a list is not in another, with repeats. */
  function difference(list: string[], other: string[]): string[] {
    const left = [...other];
    return list.filter((item) => {
      const index = left.indexOf(item);
      if (index >= 0) left.splice(index, 1);
      return index < 0;
    });
  }

  test("of the app are its three pods, by the metrics port", async () => {
    const app = (await targets()).filter(({ labels }) => labels.job === "app");
    expect(app.map(({ labels }) => labels.pod).sort()).toEqual(
      (await pods()).map(({ metadata }) => metadata.name).sort(),
    );
    for (const { scrapeUrl } of app) expect(scrapeUrl).toMatch(/:9090\/metrics$/);
  });

  test("of the proxies hold both gateways and every app pod", async () => {
    const proxies = (await targets()).filter(({ labels }) => labels.job === "istio-proxies");
    const wanted = [...(await pods()), ...(await gateways())].map(({ metadata }) => metadata.name);
    expect(proxies.map(({ labels }) => labels.pod)).toEqual(expect.arrayContaining(wanted));
  });
});

describe("D4 rules", () => {
  test("are all evaluated without an error", async () => {
    await until("the rules", 60, async () => (await ruleErrors()).join("; ") || undefined);
  });

  test("and dashboards name only metrics that exist", async () => {
    const named = expressions(repository).flatMap(({ where, expression }) =>
      selectorsIn(expression).map(({ metric }) => [where, metric] as const),
    );
    // A rate is there once requests went on for a while.
    await until("the metrics", 120, async () => {
      await post("so that every metric has a sample");
      await send("/logs");
      const known = new Set(await metricNames());
      const missing = named.filter(([, metric]) => !known.has(metric) && !onlyWhileWrong.includes(metric));
      return missing.length === 0 ? undefined : missing.map((entry) => entry.join(": ")).join("; ");
    });
  });

  test("one always fires and arrives in Alertmanager", async () => {
    expect((await fired("Watchdog", 120)).labels.severity).toBe("none");
  });
});

describe("D2 D4 requests", () => {
  test("at a share of 0: gateway and app have counted exactly what was sent", async ({ annotate }) => {
    await setFaultShare(clone, 0);
    const watching = syncedMeanwhile();
    watching.catch(() => undefined);
    await settle();
    const series: [string, () => Promise<number>, number][] = [
      ["istio_requests_total POST /log", () => counted("istio_requests_total", "POST /log"), 24],
      [
        "istio_requests_total POST /log 200",
        () => counted("istio_requests_total", "POST /log", ',response_code="200"'),
        20,
      ],
      ["istio_requests_total GET /logs", () => counted("istio_requests_total", "GET /logs"), 10],
      [
        "istio_request_duration_milliseconds_count POST /log",
        () => counted("istio_request_duration_milliseconds_count", "POST /log"),
        24,
      ],
      [
        "istio_request_duration_milliseconds_bucket POST /log",
        () => counted("istio_request_duration_milliseconds_bucket", "POST /log", ',le="+Inf"'),
        24,
      ],
      ["log_requests_total", () => number('sum(log_requests_total{job="app"})'), 24],
      ["log_writes_total success", () => number('sum(log_writes_total{job="app",result="success"})'), 20],
      ["log_writes_total failure", () => number('sum(log_writes_total{job="app",result="failure"})'), 0],
    ];
    const wanted = series.map(([name, , growth]) => [name, growth]);
    for (let round = 1; ; round++) {
      const mark = randomUUID();
      const before = await Promise.all(series.map(([, value]) => value()));
      const grown = async (): Promise<(string | number)[][]> => {
        const after = await Promise.all(series.map(([, value]) => value()));
        return series.map(([name], index) => [name, (after[index] ?? 0) - (before[index] ?? 0)]);
      };
      const log = (body: string) => send(`/log?${mark}`, body);
      for (let i = 0; i < 20; i++)
        expect((await log(JSON.stringify({ message: `counted ${i}` }))).status).toBe(200);
      for (let i = 0; i < 4; i++) expect((await log("refused")).status).toBe(400);
      for (let i = 0; i < 10; i++) expect((await send(`/logs?${mark}`)).status).toBe(200);
      await until("the counters", 90, async () => {
        const now = JSON.stringify(await grown());
        // On a busy machine the gateway gives an attempt up and makes another: one request of its own, two of the app's.
        if (round < 3 && (await accesses(await pods(), mark)).length > 34) return undefined;
        return now === JSON.stringify(wanted) ? undefined : now;
      });
      // Nothing more comes later.
      await settle();
      const counts = await grown();
      const attempts = (await accesses(await pods(), mark)).length;
      await annotate(`${attempts} attempts: ${JSON.stringify(counts)}`);
      if (round < 3 && attempts > 34) continue;
      expect(counts).toEqual(wanted);
      break;
    }
    stillness = await watching;
  });

  test("istio_request_duration_seconds is the same in seconds", async () => {
    const selector = `{${gateway},request_operation="POST /log"}`;
    const quantile = (unit: string): Promise<number> =>
      number(`histogram_quantile(0.9, sum by (le) (istio_request_duration_${unit}_bucket${selector}))`);
    expect((await quantile("milliseconds")) / 1000).toBeCloseTo(await quantile("seconds"), 6);
    const [milliseconds, seconds] = [
      await query(`istio_request_duration_milliseconds_bucket${selector}`),
      await query(`istio_request_duration_seconds_bucket${selector}`),
    ];
    expect(seconds.length).toBe(milliseconds.length);
    expect(seconds.length).toBeGreaterThan(0);
  });

  test(
    "at a share of 100 the gateway's mean is about 1 s, the app's own stays, and an alert fires",
    slow,
    async ({ annotate }) => {
      await setFaultShare(clone, 100);
      await settle();
      const sums = async (): Promise<Record<string, number>> => ({
        gatewaySum: await counted("istio_request_duration_milliseconds_sum", "POST /log"),
        gatewayCount: await counted("istio_request_duration_milliseconds_count", "POST /log"),
        failed: await counted("istio_requests_total", "POST /log", ',response_code="504"'),
        appCount: await number('sum(log_requests_total{job="app"})'),
        written: await number('sum(log_writes_total{job="app",result="success"})'),
      });
      const before = await sums();
      const started = Date.now();
      let sent = 0;
      // Until the alert is there: its rule looks at the last minute, for a minute.
      while (!(await alerts()).some(({ labels }) => labels.alertname === "LogApiFailing")) {
        if (Date.now() - started > 240_000) throw new Error("LogApiFailing did not fire within 240 s");
        await Promise.all(
          Array.from({ length: 3 }, async () => {
            expect((await send("/log", JSON.stringify({ message: "too late" }))).status).toBe(504);
            sent++;
          }),
        );
      }
      await annotate(
        `LogApiFailing after ${Math.round((Date.now() - started) / 1000)} s and ${sent} requests`,
      );
      const alert = await fired("LogApiFailing", 1);
      expect(alert.labels).toMatchObject({ request_operation: "POST /log", severity: "critical" });
      expect(alert.annotations.runbook_url).toMatch(/^docs\/runbooks\//);
      await settle();
      const after = await sums();
      const grown = (name: string): number => (after[name] ?? 0) - (before[name] ?? 0);
      expect(grown("gatewayCount")).toBe(sent);
      expect(grown("failed")).toBe(sent);
      // Envoy sums its histogram's bins, so the sum is right to a few percent.
      const mean = grown("gatewaySum") / grown("gatewayCount") / 1000;
      await annotate(`the gateway's mean is ${mean.toFixed(3)} s`);
      expect(mean).toBeGreaterThan(0.9);
      expect(mean).toBeLessThan(1.4);
      // No attempt got as far as the app.
      expect(grown("appCount")).toBe(0);
      expect(grown("written")).toBe(0);
      await setFaultShare(clone, 0);
    },
  );
});

test("E3 once converged, nothing syncs again", async () => {
  // Seen while requests were counted, when nothing was pushed.
  const { before, after } = stillness ?? (await syncedMeanwhile());
  expect(after).toEqual(before);
});

test("D3a a pod that crashes again and again raises its alert", async () => {
  const { labels } = await fired("KubePodCrashLooping", 600);
  expect(labels).toMatchObject({ namespace: crashes, pod: "crashes", container: "shell" });
}, 620_000);

test("what the whole monitoring takes is below 600 MB", async ({ annotate }) => {
  interface Stats {
    podRef: { namespace: string };
    memory?: { workingSetBytes?: number };
    cpu?: { usageNanoCores?: number };
  }
  const found: Stats[] = [];
  for (const { metadata } of await list("nodes")) {
    const summary = await kubectl(["get", "--raw", `/api/v1/nodes/${metadata.name}/proxy/stats/summary`]);
    found.push(...(JSON.parse(summary) as { pods: Stats[] }).pods);
  }
  const own = found.filter(({ podRef }) => podRef.namespace === "monitoring");
  const sum = (figures: (number | undefined)[]): number =>
    figures.reduce<number>((all, n) => all + (n ?? Number.NaN), 0);
  const megabytes = sum(own.map(({ memory }) => memory?.workingSetBytes)) / 1e6;
  const cores = sum(own.map(({ cpu }) => cpu?.usageNanoCores)) / 1e9;
  await annotate(`${own.length} pods: ${megabytes.toFixed(0)} MB working set, ${cores.toFixed(3)} cores`);
  expect(own.length).toBeGreaterThanOrEqual(4);
  expect(megabytes).toBeLessThan(600);
});
