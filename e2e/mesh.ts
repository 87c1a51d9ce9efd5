/** The mesh: its proxies' configuration and access logs, and pods of the tests' own inside it. */
import { execa } from "execa";
import { until } from "../lib/failure.ts";
import { type Pod, pods } from "./app.ts";
import { converged } from "./applications.ts";
import type { Clone } from "./clone.ts";
import { kubectl, list } from "./kubectl.ts";

/** Runs istioctl and returns what it prints. */
export async function istioctl(...args: string[]): Promise<string> {
  return (await execa("istioctl", args, { timeout: 120_000 })).stdout;
}

/** The gateway's pods but those that are going. */
export async function gateways(): Promise<Pod[]> {
  const found = await list<Pod>("pods", "--namespace", "istio-system", "--selector", "istio=ingressgateway");
  return found.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
}

/** What a proxy is configured with, such as its `routes` or `clusters`. */
export async function proxyConfig<T>(what: string, pod: Pod, ...args: string[]): Promise<T> {
  const name = `${pod.metadata.name}.${pod.metadata.namespace}`;
  return JSON.parse(await istioctl("proxy-config", what, name, ...args, "--output", "json")) as T;
}

/** A line of a proxy's access log. */
export interface Access {
  method: string;
  path: string;
  response_code: number;
  response_flags: string;
  duration: number;
}

/**
 * What the proxies of some pods logged of one request; complete some seconds after the request.
 * @param mark a part of its path, such as a parameter: the gateway gives every request an id of its own
 */
export async function accesses(of: Pod[], mark: string): Promise<Access[]> {
  const found: Access[] = [];
  for (const { metadata } of of) {
    const args = [
      "--namespace",
      metadata.namespace ?? "",
      "logs",
      metadata.name,
      "--container",
      "istio-proxy",
    ];
    const log = await kubectl([...args, "--since", "2m"]);
    const lines = log.split("\n").filter((line) => line.startsWith("{") && line.includes(mark));
    found.push(...lines.map((line) => JSON.parse(line) as Access));
  }
  return found;
}

/** What the gateway wrote about the request with this id, once it has: Envoy flushes its log every second or so. */
export async function gatewayAccess(id: string): Promise<Access> {
  const of = await gateways();
  let access: Access | undefined;
  await until(`the gateway's access log of ${id}`, 30, async () => {
    [access] = await accesses(of, id);
    return access === undefined ? "no line" : undefined;
  });
  return access as Access;
}

const faultShare = "gitops/apps/logging/base/mesh/fault.env";
const percentage = "x-envoy-fault-delay-request-percentage";

/** Puts the share of delayed requests into Git, in percent, and waits until every gateway has it. */
export async function setFaultShare(clone: Clone, percent: number): Promise<void> {
  const wanted = `DELAY_PERCENT=${percent}`;
  await clone.git("pull", "--quiet");
  const now = await clone.git("show", `HEAD:${faultShare}`);
  if (now.trim() !== wanted) {
    clone.edit(faultShare, () => `${wanted}\n`);
    await converged(await clone.push(`fault(app): delay ${percent} % of POST /log`));
  }
  for (const pod of await gateways()) {
    await until(`${percent} % at ${pod.metadata.name}`, 60, async () => {
      const routes = JSON.stringify(await proxyConfig("routes", pod));
      const share = new RegExp(`"${percentage}","value":"(\\d+)"`).exec(routes)?.[1];
      return share === String(percent) ? undefined : `it is ${share}`;
    });
  }
}

/** Every pod of the app and of the gateway. */
export const proxies = async (): Promise<Pod[]> => [...(await pods()), ...(await gateways())];
