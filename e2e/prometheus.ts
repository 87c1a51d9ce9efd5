/** What Prometheus and Alertmanager say, through Prometheus' public address and the API server's proxy. */
import { until } from "../lib/failure.ts";
import { kubectl } from "./kubectl.ts";
import { exported } from "./platform.ts";

interface Answer<T> {
  status: string;
  error?: string;
  data: T;
}

/** One series of an instant query's answer. */
export interface Sample {
  metric: Record<string, string>;
  value: number;
}

/** One thing that Prometheus scrapes. */
export interface Target {
  labels: Record<string, string>;
  health: string;
  lastError: string;
  scrapeUrl: string;
  /** When it was scraped last, as RFC 3339. */
  lastScrape: string;
}

/** One alert, as Alertmanager holds it. */
export interface Alert {
  labels: Record<string, string>;
  annotations: Record<string, string>;
  status: { state: string };
}

async function ask<T>(path: string): Promise<T> {
  const response = await fetch(exported("PROMETHEUS_URL") + path, { signal: AbortSignal.timeout(30_000) });
  const { status, error, data } = (await response.json()) as Answer<T>;
  if (status !== "success") throw new Error(`${path}: ${error}`);
  return data;
}

/** Evaluates an expression now. */
export async function query(expression: string): Promise<Sample[]> {
  const { result } = await ask<{ result: { metric: Record<string, string>; value: [number, string] }[] }>(
    `/api/v1/query?query=${encodeURIComponent(expression)}`,
  );
  return result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
}

/** Evaluates an expression to one number; 0 where nothing matches. */
export async function number(expression: string): Promise<number> {
  const samples = await query(expression);
  if (samples.length > 1) throw new Error(`${expression} gives ${samples.length} series`);
  return samples[0]?.value ?? 0;
}

/** All targets that are scraped, those that relabeling drops left out. */
export const targets = async (): Promise<Target[]> =>
  (await ask<{ activeTargets: Target[] }>("/api/v1/targets?state=active")).activeTargets;

/** Names of all metrics that were scraped or recorded within the last minutes. */
export const metricNames = (): Promise<string[]> =>
  ask(`/api/v1/label/__name__/values?start=${Math.floor(Date.now() / 1000) - 600}`);

/** The rule groups as Prometheus runs them. */
export async function ruleErrors(): Promise<string[]> {
  interface Group {
    name: string;
    rules: { name: string; health: string; lastError?: string }[];
  }
  const { groups } = await ask<{ groups: Group[] }>("/api/v1/rules");
  if (groups.length === 0) return ["there are no rules"];
  return groups.flatMap((group) =>
    group.rules
      .filter(({ health }) => health === "err")
      .map(({ name, lastError }) => `${group.name} ${name}: ${lastError}`),
  );
}

/** What Alertmanager holds now. */
export async function alerts(): Promise<Alert[]> {
  const service = "/api/v1/namespaces/monitoring/services/alertmanager-operated:web/proxy";
  return JSON.parse(await kubectl(["get", "--raw", `${service}/api/v2/alerts`])) as Alert[];
}

/** Waits until Alertmanager holds an alert, and returns it. */
export async function fired(name: string, seconds: number): Promise<Alert> {
  let found: Alert | undefined;
  await until(`alert ${name} in Alertmanager`, seconds, async () => {
    found = (await alerts()).find(({ labels }) => labels.alertname === name);
    return found ? undefined : "it has not fired";
  });
  return found as Alert;
}
